"""Schedules: learning rates at optimizer steps, which count from 0."""

import pickle

import numpy as np
import pytest

from nncore import schedules
from nncore.schedules import Constant, CosineDecay, ExponentialDecay, StepDecay, WarmUp

EVERY = [
    Constant(0.1),
    StepDecay(0.1, factor=0.3, every=7),
    ExponentialDecay(0.1, rate=0.9, steps=13),
    CosineDecay(0.1, steps=50, final=0.01),
    WarmUp(9, after=CosineDecay(0.1, steps=30)),
    WarmUp(5, after=WarmUp(3, after=0.1)),
]


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_an_array_of_steps_gives_the_single_rates_bit_for_bit(schedule):
    steps = np.arange(101, dtype=np.int32)
    rates = schedule(steps)
    assert rates.dtype == np.float64 and rates.shape == steps.shape
    singles = [schedule(int(step)) for step in steps]
    assert all(type(rate) is float for rate in singles)
    assert rates.tolist() == singles
    assert schedule(np.int64(7)) == singles[7] and type(schedule(np.int64(7))) is float
    assert schedule(steps[3:20]).tolist() == singles[3:20]  # however a run is cut in stretches
    assert schedule(np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_a_schedule_is_a_value(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(pickle.loads(pickle.dumps(schedule))) == hash(schedule)


def test_constant():
    assert Constant(0.25)(0) == Constant(0.25)(10**9) == 0.25


def test_step_decay_falls_at_every_multiple():
    schedule = StepDecay(1.0, factor=0.5, every=10)
    assert [schedule(step) for step in (0, 9, 10, 19, 20, 30)] == [1, 1, 0.5, 0.5, 0.25, 0.125]


def test_exponential_decay_falls_by_the_rate_in_each_stretch():
    schedule = ExponentialDecay(2.0, rate=0.25, steps=100)
    assert schedule(0) == 2.0
    assert schedule(50) == pytest.approx(1.0)
    assert schedule(100) == pytest.approx(0.5)


def test_cosine_decay_ends_at_final_and_stays():
    schedule = CosineDecay(1.0, steps=100, final=0.2)
    assert schedule(0) == 1.0
    assert schedule(50) == pytest.approx(0.6)
    assert schedule(25) == pytest.approx(0.2 + 0.8 * (1 + np.cos(np.pi / 4)) / 2)
    assert schedule(100) == schedule(10**6) == 0.2


def test_warm_up_climbs_to_the_first_rate_of_what_follows_then_hands_over():
    after = ExponentialDecay(1.0, rate=0.5, steps=10)
    schedule = WarmUp(4, after=after)
    assert [schedule(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [schedule(4 + step) for step in range(20)] == [after(step) for step in range(20)]
    assert WarmUp(2, after=0.5)(100) == 0.5


def test_get_makes_a_constant_of_a_number():
    assert schedules.get(0.1) == Constant(0.1)
    assert schedules.get(np.float32(0.5)) == Constant(0.5)
    assert schedules.get(EVERY[3]) is EVERY[3]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: schedules.get("cosine"), TypeError, r"received 'cosine' \(str\)"),
        (lambda: schedules.get(CosineDecay), TypeError, "the class CosineDecay"),
        (lambda: schedules.get(True), TypeError, r"received True \(bool\)"),
        (lambda: schedules.get(-0.1), ValueError, r"must be in \[0, inf\), received -0.1"),
        (lambda: schedules.get(float("nan")), ValueError, "received nan"),
        (lambda: Constant(float("inf")), ValueError, "received inf"),
        (lambda: StepDecay(0.1, factor=0, every=3), ValueError, r"factor must be in \(0, 1\]"),
        (lambda: StepDecay(0.1, factor=0.5, every=0), ValueError, "every must be an integer >= 1"),
        (lambda: ExponentialDecay(0.1, rate=1.5, steps=3), ValueError, "rate must be in"),
        (
            lambda: CosineDecay(0.1, steps=2.5),
            TypeError,
            r"steps must be .* received 2.5 \(float\)",
        ),
        (lambda: CosineDecay(0.1, steps=2, final=-1), ValueError, "final must be in"),
        (lambda: WarmUp(3, after="x"), TypeError, r"received 'x' \(str\)"),
        (lambda: Constant(0.1)(1.0), TypeError, "steps must be integers"),
        (lambda: Constant(0.1)(True), TypeError, "steps must be integers"),
        (lambda: Constant(0.1)(-1), ValueError, "count from 0, received -1"),
    ],
)
def test_bad_input_is_told(make, error, says):
    with pytest.raises(error, match=says):
        make()

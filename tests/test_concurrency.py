"""One process, many threads: who may train, who may predict, and that others run meanwhile."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nncore as nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 64)).astype(np.float32)
Y = RNG.integers(0, 10, 256)


def network(seed=0, width=64):
    layers = [nn.Input((64,)), nn.Dense(width, "relu"), nn.Dense(10)]
    model = nn.Sequential(layers, seed=seed)
    model.compile(nn.SGD(0.01), "cross_entropy")
    return model


def test_many_threads_predict_the_same_bits_as_one():
    model = network()
    batches = [X[: 1 + i * 7 % 256] for i in range(64)]
    expected = [model(x) for x in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = list(pool.map(model, batches))
            assert all(map(np.array_equal, found, expected))
        found = list(pool.map(lambda x: model.predict(x, batch_size=10), batches))
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-5)


def test_joblib_threads_and_processes():
    joblib = pytest.importorskip("joblib")
    model = network()
    parts = np.split(X, 8)
    expected = [model(part) for part in parts]
    with joblib.parallel_backend("threading", n_jobs=4):
        found = joblib.Parallel()(joblib.delayed(model.predict)(part) for part in parts)
    assert all(map(np.array_equal, found, expected))


def test_threads_that_meet_a_network_without_shapes():
    for _ in range(20):
        model = nn.Sequential([nn.Dense(16, "tanh"), nn.Dense(3)], seed=0)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(model, [X] * 16))
        assert all(np.array_equal(y, model(X)) for y in found)


def test_only_one_thread_trains_a_model():
    model, refused = network(), []

    def intrude(*_):
        calls = (
            lambda: model.train_on_batch(X, Y), lambda: model.fit(X, Y), lambda: model.forward(X),
            lambda: model.gradients(X, Y), model.apply_gradients,
        )  # fmt: skip
        for call in calls:
            with pytest.raises(RuntimeError, match="being trained by another thread"):
                call()
            refused.append(call)

    def elsewhere(*_):
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()

    model.train_on_batch(X, Y)
    inside = nn.callbacks.LambdaCallback(on_epoch_begin=intrude, on_epoch_end=elsewhere)
    history = model.fit(X, Y, epochs=2, callbacks=[inside])
    assert len(refused) == 20 and len(history.epoch) == 2
    model.train_on_batch(X, Y)  # and afterwards it is free again


def test_predicting_while_another_thread_trains():
    model, stop = network(), threading.Event()

    def predict():
        while not stop.is_set():
            assert np.isfinite(model(X)).all()

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(predict) for _ in range(2)]
        model.fit(X, Y, epochs=20)
        stop.set()
        for run in runs:
            run.result()


@pytest.mark.parametrize("asked", [1, 16, 10**12])
def test_any_number_of_threads_may_be_asked_for(asked):
    before = nn.get_num_threads()
    try:
        nn.set_num_threads(asked)
        model = network(width=512)
        model.fit(X, Y, epochs=2)
        assert np.isfinite(model(X)).all()
        assert nn.get_num_threads() >= min(asked, 2)
    finally:
        nn.set_num_threads(before)


@pytest.mark.parametrize("call", ["fit", "predict"])
def test_other_threads_run_meanwhile(call):
    """With the GIL held the ticking thread would get in between two calls only."""
    model = network(width=1024)
    many = np.tile(X, (8, 1))
    labels = np.tile(Y, 8)
    calls = {
        "fit": lambda: model.fit(many, labels, batch_size=len(many), verbose=False),
        "predict": lambda: model(many[:1024]),
    }
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0002)

    calls[call]()
    before, thread = sys.getswitchinterval(), threading.Thread(target=tick)
    sys.setswitchinterval(1000)  # so that only a released GIL lets the other thread in
    try:
        thread.start()
        started = time.perf_counter()
        for _ in range(10):
            calls[call]()
        ended = time.perf_counter()
    finally:
        stop.set()
        sys.setswitchinterval(before)
        thread.join()
    assert sum(started < t < ended for t in ticks) > 10 * 3

"""One process, many threads: who may train, who may predict, and that others run meanwhile."""

import copy
import itertools
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nncore as nn
from nncore._kernels import blas
from support import layer_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 64)).astype(np.float32)
Y = RNG.integers(0, 10, 256)


def network(width=64, first=None):
    layers = [nn.Dense(width, "relu"), nn.Dense(10)]
    if first is not None:
        layers.insert(0, first)
    model = nn.Sequential([nn.Input((64,)), *layers], seed=0)
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


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_joblib_threads_and_processes(backend):
    joblib = pytest.importorskip("joblib")
    model = network()
    parts = np.split(X, 8)
    expected = [model(part) for part in parts]
    with joblib.parallel_config(backend, n_jobs=2):
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


def test_no_copy_is_taken_in_the_midst_of_another_threads_steps(tmp_path):
    model, refused = network(), []
    model.save_weights(tmp_path / "before")
    calls = (
        lambda: model.save(tmp_path / "m"), lambda: model.save_weights(tmp_path / "w"),
        lambda: model.load_weights(tmp_path / "before"), lambda: pickle.dumps(model),
        lambda: copy.deepcopy(model),
    )  # fmt: skip

    def intrude():
        for call in calls:
            with pytest.raises(RuntimeError, match="another thread is training"):
                call()
            refused.append(call)

    def on_epoch_end(*_):
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        for call in calls:  # this thread's own training is between two steps
            call()

    model.fit(X, Y, callbacks=[nn.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)])
    assert len(refused) == len(calls)


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


def test_the_number_of_threads_changes_while_others_run():
    """Training and predictions that are under way stay safe, and their results right."""
    images = RNG.normal(size=(64, 16, 16, 8))
    labels = RNG.integers(0, 10, len(images))

    def trained(after_each):
        layers = [
            nn.Input(images.shape[1:]), nn.Conv2D(16, 3, padding="same"), nn.BatchNormalization(),
            nn.Activation("tanh"), nn.Conv2D(24, 5, 2), nn.Flatten(), nn.Dense(64, "tanh"),
            nn.Dense(10, "softmax"),
        ]  # fmt: skip
        model = nn.Sequential(layers, seed=3, dtype="float64")
        model.compile(nn.SGD(0.01, momentum=0.9), "cross_entropy")
        for _ in range(6):
            model.fit(images, labels, batch_size=16, epochs=2, verbose=False)
            after_each(model)
        return model

    before, stop, changes = nn.get_num_threads(), threading.Event(), []

    def change():
        for n in itertools.cycle((1, 2, 16, 3)):
            nn.set_num_threads(n)
            changes.append(n)
            if stop.wait(1e-4):
                return

    try:
        nn.set_num_threads(1)
        outputs = []
        still = trained(lambda model: outputs.append(model(images)))
        with ThreadPoolExecutor(2) as pool:
            changing = pool.submit(change)
            predictions = []

            def predict(model):
                found = pool.submit(lambda: [model(images) for _ in range(4)])
                predictions.append(found.result())

            try:
                restless = trained(predict)
            finally:
                stop.set()
            changing.result()
    finally:
        nn.set_num_threads(before)
    assert len(changes) > 100 and len(predictions) == 6
    for name, value in {**still.params, **still.buffers}.items():
        found = {**restless.params, **restless.buffers}[name]
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-9, err_msg=name)
    for expected, found in zip(outputs, predictions, strict=True):
        for y in found:
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-9)


CALLS = {
    "model(x)": lambda model: model(X),
    "predict": lambda model: model.predict(X),
    "evaluate": lambda model: model.evaluate(X, Y),
    "fit": lambda model: model.fit(X, Y, batch_size=len(X), verbose=False),
    "train_on_batch": lambda model: model.train_on_batch(X, Y),
    "gradients": lambda model: model.gradients(X, Y),
    "forward": lambda model: model.forward(X),
}


def wait_for(outsider):
    """Until a run waits at the door."""
    while not outsider.somebody_waits() and not outsider.a_run_gave_up():
        time.sleep(0.001)


@pytest.mark.parametrize("call", CALLS)
def test_other_threads_run_meanwhile(call, outsider):
    """The run waits, in compiled code, for what only another Python thread can do."""
    model = network(first=layer_of(outsider.Door))

    def visitor():
        wait_for(outsider)
        outsider.open_door()

    for _ in range(2):  # the first call builds the plan, the second goes straight to it
        outsider.close_door()
        thread = threading.Thread(target=visitor, daemon=True)
        thread.start()
        CALLS[call](model)
        thread.join()
        assert not outsider.a_run_gave_up(), "the GIL was held"


def test_while_one_run_has_the_team_others_go_without(outsider, team):
    """They do not wait, and what they compute does not depend on it."""
    team(3)
    slow, model = network(first=layer_of(outsider.Door)), network(first=layer_of(outsider.Twice))
    results = []
    call = lambda: results.append(model.gradients(X, Y)[1])  # noqa: E731
    assert outsider.members(call) == 3
    outsider.close_door()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(slow, X)
        wait_for(outsider)
        alone = outsider.members(call)
        outsider.open_door()
        run.result()
    assert alone == 1
    assert not outsider.a_run_gave_up()
    for name, grad in results[0].items():
        assert np.array_equal(grad, results[1][name]), name


def test_blas_is_held_at_one_thread_whoever_runs_a_plan():
    blas.load()

    def held():
        blas.hold()
        try:
            return {pool.get_num_threads() for pool in blas.pools()}
        finally:
            blas.release()

    assert held() <= {1}
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(held).result() <= {1}

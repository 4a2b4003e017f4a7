"""nncore in a real process: forks, Ctrl-C, BLAS, denormals, and what the import brings."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nncore as nn
from nncore import sequential
from nncore.machine import processors

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 64)).astype(np.float32)
Y = RNG.integers(0, 10, 256)


def network(seed=0, width=64):
    layers = [nn.Input((64,)), nn.Dense(width, "relu"), nn.Dense(10)]
    model = nn.Sequential(layers, seed=seed)
    model.compile(nn.SGD(0.01), "cross_entropy")
    return model


def python(code, *arguments, **environment):
    """Runs code in a fresh Python; returns what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# ---- fork ----------------------------------------------------------------------------------------


def in_a_fork(work):
    """What work() returns in a forked child, as a number; the child must end within seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, repr(float(work())).encode())
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(writing)
    deadline = time.monotonic() + 20
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.001)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    assert text, "the child failed"
    return float(text)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("members", [2, 3])
def test_children_of_a_fork_train_and_predict_with_threads(team, members):
    team(members)
    model = network()

    def work():
        return float(model.train_on_batch(X, Y)) + float(np.abs(model(X)).sum())

    model.train_on_batch(X, Y), model(X)
    for _ in range(5):
        child = in_a_fork(work)
        assert child == work()  # the parent goes on, and makes the same step
    assert in_a_fork(lambda: in_a_fork(work)) == work()  # a fork in a fork


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_trains(team):
    team(2)
    model, other, stop = network(), network(), threading.Event()

    def train():
        while not stop.is_set():
            other.train_on_batch(X, Y)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        expected = float(np.abs(model(X)).sum())
        for _ in range(20):
            assert in_a_fork(lambda: np.abs(model(X)).sum()) == expected
    finally:
        stop.set()
        thread.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_shuffles():
    """NumPy's generators have locks, which a child cannot open."""
    model, stop = nn.Sequential([nn.Input((1,)), nn.Dense(1)], seed=0), threading.Event()
    model.compile("sgd", "mse")
    x = np.zeros((100000, 1), np.float32)  # most of its time an epoch takes to shuffle
    model.fit(x, x, batch_size=len(x), verbose=False)  # Python's imports have locks, too

    def train():
        while not stop.is_set():
            model.fit(x, x, batch_size=len(x), verbose=False)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(10):
            assert in_a_fork(lambda: len(model.fit(x, x, verbose=False).epoch)) == 1
    finally:
        stop.set()
        thread.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_finds_shapes():
    """Its lock is not the child's."""
    started, go_on = threading.Event(), threading.Event()

    def hold():
        with sequential._building:
            started.set()
            go_on.wait(60)

    def work():
        return nn.Sequential([nn.Dense(1)], seed=0)(np.ones((1, 2))).size

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert started.wait(60)
        assert in_a_fork(work) == 1
    finally:
        go_on.set()
        thread.join()


def test_multiprocessing_with_fork():
    code = """
        import multiprocessing, numpy as np, nncore as nn
        from nncore._kernels import threads
        threads.configure(2, 2, True)
        model = nn.Sequential([nn.Input((8,)), nn.Dense(64, "relu"), nn.Dense(1)], seed=0)
        model.compile("adam", "mse")
        x, y = np.ones((64, 8)), np.ones((64, 1))
        model.fit(x, y)
        def work(i):
            return model.fit(x, y, epochs=3).history["loss"][-1]
        with multiprocessing.get_context("fork").Pool(3, maxtasksperchild=1) as pool:
            found = pool.map(work, range(6), chunksize=1)
        assert set(found) == {work(0)}, found
    """
    python(code)


# ---- Ctrl-C --------------------------------------------------------------------------------------

TRAIN_UNTIL_INTERRUPTED = """
    import os, signal, sys, threading, time, numpy as np, nncore as nn
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    if sys.argv[2] == "a second thread":
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(512, 32)), rng.normal(size=(512, 8))
    model = nn.Sequential([nn.Input((32,)), nn.Dense(256, "tanh"), nn.Dense(8)], seed=0)
    model.compile(sys.argv[1], "mse")
    class Watch(nn.callbacks.Callback):
        ended = False
        def on_epoch_end(self, model, epoch, logs):
            if epoch == 0:
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        def on_train_end(self, model):
            self.ended = True
    watch = Watch()
    history = model.fit(x, y, epochs=10**6, callbacks=[watch])
    assert history.interrupted and watch.ended and 0 < len(history.epoch) < 10**6, history
    assert np.isfinite(model(x)).all()
    assert not model.fit(x, y, epochs=2).interrupted
    model.gradients(x, y)
"""


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("company", ["alone", "a second thread"])
def test_ctrl_c_ends_fit_and_leaves_a_usable_model(optimizer, company):
    python(TRAIN_UNTIL_INTERRUPTED, optimizer, company)


INTERRUPTED_AGAIN_AND_AGAIN = """
    import random, signal, numpy as np, nncore as nn
    model = nn.Sequential([nn.Input((6,)), nn.Dense(3)], seed=0)
    model.compile("adam", "mse")
    x, dy = np.ones((8, 6)), np.ones((8, 3))
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    moment = random.Random(0).uniform
    for _ in range(4000):
        try:
            signal.setitimer(signal.ITIMER_REAL, moment(2e-5, 4e-4))
            while True:
                model.forward(x)
                model.backward(dy)
                model.apply_gradients()
        except KeyboardInterrupt:
            pass
        model.train_on_batch(x, dy)
        model.compile("adam", "mse")
"""


def test_no_moment_for_ctrl_c_locks_a_model():
    python(INTERRUPTED_AGAIN_AND_AGAIN)


# ---- the process around a run --------------------------------------------------------------------


def test_denormal_numbers_live_again_after_a_run():
    def denormal():
        return float(np.float32(1e-38) * np.float32(0.01))

    assert denormal() > 0
    model = network()
    model.fit(X, Y), model(X), model.predict(X), model.gradients(X, Y)
    assert denormal() > 0
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: (model(X), denormal())).result()[1] > 0


def test_blas_gets_its_threads_back():
    code = """
        import threading, numpy as np, nncore as nn, scipy.linalg.blas
        from threadpoolctl import ThreadpoolController
        def threads():
            return [p.num_threads for p in ThreadpoolController().lib_controllers
                    if p.user_api == "blas"]
        for pool in ThreadpoolController().lib_controllers:
            pool.set_num_threads(2)
        before = threads()
        assert before and set(before) == {2}, before
        x, y = np.ones((64, 32), np.float32), np.zeros((64, 8), np.float32)
        def work():
            model = nn.Sequential([nn.Input((32,)), nn.Dense(16), nn.Dense(8)], seed=0)
            model.compile("sgd", "mse")
            model.fit(x, y, epochs=3)
            for _ in range(100):
                model(x)
            try:
                model.fit(x * np.nan, y)
            except ValueError:
                pass
        work()
        assert threads() == before
        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        assert threads() == before, threads()
    """
    python(code, NNCORE_ISA="baseline")


def test_the_import_brings_only_what_it_needs():
    code = """
        import sys, nncore as nn
        unwanted = {"scipy.linalg", "tqdm", "matplotlib", "sklearn", "safetensors", "threadpoolctl",
                    "scipy.optimize", "torch", "multiprocessing", "difflib", "csv"}
        assert not unwanted & set(sys.modules), unwanted & set(sys.modules)
        model = nn.Sequential([nn.Input((2,)), nn.Dense(1)])
        model.compile("sgd", "mse")
        model.fit([[1, 2]], [[1]], verbose=False), model([[1, 2]])
        unwanted -= {"threadpoolctl"}
        unwanted |= {f"nncore.layers.{one}" for one in ("convolution", "recurrent", "pooling")}
        unwanted |= {"nncore._kernels.convolution", "nncore._kernels.recurrent"}
        unwanted |= {"nncore.schedules", "nncore.files"}
        assert not unwanted & set(sys.modules), unwanted & set(sys.modules)
    """
    python(code)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "2 threads"])
def test_the_variable_for_threads_must_be_a_number(text):
    code = """
        try:
            import nncore
        except ValueError as error:
            print(error)
    """
    said = python(code, NNCORE_NUM_THREADS=text)
    assert "NNCORE_NUM_THREADS" in said and repr(text) in said and "positive integer" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", "1"), (" 3", "3"), ("007", "7"), ("", str(processors()))],
)
def test_the_variable_for_threads(text, expected):
    code = "import nncore as nn; print(nn.get_num_threads())"
    assert python(code, NNCORE_NUM_THREADS=text).strip() == expected


def test_a_vast_number_of_threads_in_the_variable():
    assert python("import nncore", NNCORE_NUM_THREADS="9" * 30) == ""


def test_an_instruction_set_that_is_none():
    code = """
        try:
            import nncore
        except (ValueError, ImportError) as error:
            print(error)
    """
    said = python(code, NNCORE_ISA="avx1024")
    assert "NNCORE_ISA" in said and "avx1024" in said and "baseline" in said

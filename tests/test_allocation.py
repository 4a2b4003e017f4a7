"""A training step allocates nothing: ten times the batches, as many calls of the allocator."""

import os
import shutil
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest

import nncore as nn

COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/types.h>

/* Stands in front of the C library's allocator and counts; the linker finds it first. */
static long calls;
long allocations(void) { return __atomic_load_n(&calls, __ATOMIC_SEQ_CST); }
#define COUNT() __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED)

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t n) { COUNT(); return __libc_malloc(n); }
void *calloc(size_t n, size_t size) { COUNT(); return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { COUNT(); return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { COUNT(); return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { COUNT(); return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    COUNT();
    *p = __libc_memalign(a, n);
    return *p ? 0 : 12;
}
void *mmap(void *at, size_t n, int protection, int flags, int file, off_t offset) {
    static void *(*next)(void *, size_t, int, int, int, off_t);
    if (!next) next = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
    COUNT();
    return next(at, n, protection, flags, file, offset);
}
"""

COUNTED_TRAINING = """
    import ctypes, sys, numpy as np, nncore as nn
    from nncore import fitting
    from nncore._kernels import threads
    fitting.AIR = 1e6  # seconds between two looks at Python: however busy the machine, one stretch
    members, dtype, optimizer = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    in_python = sys.argv[5:] == ["in Python"]
    threads.configure(members, members, True)
    count = ctypes.CDLL(None).allocations
    count.restype = ctypes.c_long
    before = count()
    kept = [bytearray(5000) for _ in range(50)]
    assert count() - before >= 50, "the counter does not count"

    class InPython(nn.Layer):
        def forward(self, x):
            return x + 0
        def backward(self, dy, y, x):
            return dy + 0

    def model():
        inputs = nn.Input((12,))
        x = InPython()(inputs) if in_python else inputs
        h = nn.Dense(19, "gelu")(nn.Dropout(0.3)(x))
        h = nn.Add()([h, nn.Dense(19, "tanh")(h)])
        steps = nn.Reshape((19, 1))(h)
        words = nn.Flatten()(nn.LSTM(2, return_sequences=True)(steps))
        y = nn.Dense(3, "softmax")(nn.Concatenate()([words, h]))
        model = nn.Model(inputs, y, seed=0, dtype=dtype)
        schedule = nn.schedules.CosineDecay(0.01, 10**6)
        model.compile(getattr(nn, optimizer)(schedule, clipnorm=1.0), "cross_entropy")
        return model

    trained = model()
    counts = {}
    for batches in (200, 2000, 200, 2000):  # the first time of each finds things to set up
        rows = batches * 8
        x = np.ones((rows, 12), "f4" if len(sys.argv[4]) else "f8")
        y = np.zeros(rows, np.int64)
        before = count()
        trained.fit(x, y, batch_size=8, verbose=False)
        counts[batches] = count() - before
    print(counts[200], counts[2000])
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("counting calls of malloc needs a C compiler, on Linux")
    folder = tmp_path_factory.mktemp("counter")
    (folder / "counter.c").write_text(COUNTER)
    library = folder / "counter.so"
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, folder / "counter.c", "-ldl"],
        capture_output=True,
        text=True,
    )
    if built.returncode:
        pytest.skip(f"this C library has no __libc_malloc: {built.stderr[:200]}")
    return library


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "optimizer", "same_dtype"),
    [("float32", "Adam", "yes"), ("float64", "SGD", ""), ("float32", "RMSprop", "")],
)
def test_training_steps_allocate_nothing(counter, members, dtype, optimizer, same_dtype):
    few, many = counted(counter, members, dtype, optimizer, same_dtype)
    assert few > 0
    assert abs(many - few) < 20, f"{few} allocations in 200 steps, {many} in 2000"


def test_the_counter_sees_a_step_that_allocates(counter):
    few, many = counted(counter, 1, "float32", "SGD", "", "in Python")
    assert many - few >= 1800


def counted(counter, *arguments):
    """Calls of the allocator in 200 and in 2000 training steps, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COUNTED_TRAINING), *map(str, arguments)],
        env={**os.environ, "LD_PRELOAD": str(counter), "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    few, many = map(int, run.stdout.split())
    return few, many


def traced_peak(call):
    """The most bytes that Python objects took meanwhile, beyond those before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_python_keeps_nothing_from_step_to_step():
    model = nn.Sequential([nn.Input((12,)), nn.Dense(8, "relu"), nn.Dense(3)], seed=0)
    model.compile("adam", "cross_entropy")
    x, y = np.ones((16, 12), np.float32), np.zeros(16, np.int64)

    def steps(count):
        for _ in range(count):
            model.train_on_batch(x, y)
            model(x)

    steps(10)
    few, many = traced_peak(lambda: steps(20)), traced_peak(lambda: steps(2000))
    assert many < few + 2000


def test_a_data_set_is_not_copied():
    model = nn.Sequential([nn.Input((64,)), nn.Dense(2)], seed=0)
    model.compile("sgd", "mse")
    x, y = np.ones((20_000, 64), np.float32), np.zeros((20_000, 2), np.float32)
    model.fit(x[:64], y[:64])
    assert traced_peak(lambda: model.fit(x, y)) < x.nbytes / 4
    assert traced_peak(lambda: model.predict(x)) < x.nbytes / 4
    images = np.ones((20_000, 64), np.uint8)
    assert traced_peak(lambda: model.fit(images, y)) < x.nbytes / 4

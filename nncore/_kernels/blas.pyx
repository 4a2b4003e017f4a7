"""scipy's BLAS, found when the first plan that calls it is built.

``cimport scipy.linalg.cython_blas`` would import all of scipy.linalg (several times numpy's own
import); the one extension file behind it exposes the same functions.
"""
import importlib.machinery
import importlib.util
import os
import sys
import threading

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer

_NAME = "scipy.linalg.cython_blas"
_pools = None
_held = 0
_lock = threading.Lock()
_before = []


def _module():
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    scipy = importlib.util.find_spec("scipy")
    if scipy is not None and scipy.origin:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = os.path.join(os.path.dirname(scipy.origin), "linalg", "cython_blas" + suffix)
            if os.path.exists(path):
                spec = importlib.util.spec_from_file_location(_NAME, path)
                try:
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                    return module
                except ImportError:
                    break
    return importlib.import_module(_NAME)


def load():
    """Finds sgemm and dgemm; does nothing the second time."""
    global sgemm, dgemm
    if sgemm != NULL:
        return
    functions = _module().__pyx_capi__
    s, d = functions["sgemm"], functions["dgemm"]
    dgemm = <dgemm_t> PyCapsule_GetPointer(d, PyCapsule_GetName(d))
    sgemm = <sgemm_t> PyCapsule_GetPointer(s, PyCapsule_GetName(s))


def pools():
    """The thread pools of the BLAS libraries in this process that plans may call."""
    global _pools
    if _pools is None:
        from threadpoolctl import ThreadpoolController
        found = [pool for pool in ThreadpoolController().lib_controllers
                 if pool.user_api == "blas"]
        _pools = [pool for pool in found if "scipy" in pool.filepath] or found
    return _pools


def _set_threads(pool, threads):
    """Sets a pool's size, on whichever thread: newer versions of threadpoolctl listen to one
    thread of the process only, the first to call, until that is cleared."""
    clear = getattr(pool, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    pool.set_num_threads(threads)
    if clear is not None:
        clear(force=True)


def hold():
    """Keeps BLAS at one thread until `release`: two pools on the same processors cost 20x."""
    global _held
    with _lock:  # asking a pool gives up the GIL
        _held += 1  # first: an interrupt from here on is undone by the caller's `release`
        if _held == 1:
            _before[:] = [pool.get_num_threads() for pool in pools()]
            for pool in pools():
                _set_threads(pool, 1)


def release():
    global _held
    with _lock:
        if _held == 0:  # Ctrl-C came while `hold` waited for the lock
            return
        _held -= 1
        if _held == 0:
            for pool, threads in zip(pools(), _before):
                _set_threads(pool, threads)


def _forget():
    """The child of a fork has none of the runs that held BLAS, nor their locks."""
    global _held, _lock
    _lock = threading.Lock()
    if _held:
        _held = 0
        for pool, threads in zip(pools(), _before):
            _set_threads(pool, threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

"""Says in one line what this machine lacks to build nncore. Runs on any Python 3."""

import os
import shlex
import shutil
import sys
import sysconfig


def lacking():
    """What is missing and how to get it, or None."""
    version = "%d.%d" % sys.version_info[:2]
    if sys.version_info < (3, 11):  # noqa: UP036
        return "needs Python 3.11 or newer; %s is %s (name another: make PYTHON=python3.12 ...)" % (
            sys.executable,
            version,
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return "needs Python's venv module: sudo apt install python%s-venv" % version
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(shlex.split(compiler)[0]) is None:
        return "needs a C compiler (%s): sudo apt install gcc" % shlex.split(compiler)[0]
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        return "needs Python's headers (%s): sudo apt install python%s-dev" % (header, version)
    return None


if __name__ == "__main__":
    missing = lacking()
    if missing:
        sys.exit("nncore " + missing)

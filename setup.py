"""Builds the compiled kernels. What the package is, pyproject.toml says."""

import multiprocessing
import os
import platform
import subprocess
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("nncore/_kernels")
FLAGS = [  # vectors are all that modules in Cython need of -O3: the rest is a tenth of the wheel
    "-O2",  # not less: kernels rely on contraction, see FUSED in simd/isa.h
    "-ftree-vectorize",
    "-fno-asynchronous-unwind-tables",
    "-std=gnu11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-g0",
    "-fvisibility=hidden",
    "-Wno-unused-function",
]

GCC_FLAGS = [  # without versions of loops for a stride of 1 the tiles are a tenth smaller
    "-fvect-cost-model=dynamic",
    "-fno-version-loops-for-strides",
]
GCC_SIMD = {"baseline.c": ["-fno-ipa-cp-clone"]}  # copies of functions are 7 KB of the wheel

# The hot loops are compiled once per instruction set and chosen at import.
SIMD = {
    "baseline.c": ["-O3"],
    "avx2.c": ["-O3", "-march=x86-64-v3"],
    "avx512.c": ["-O3", "-march=x86-64-v4", "-mprefer-vector-width=512"],
}
if platform.machine() not in ("x86_64", "AMD64"):
    SIMD = {"baseline.c": ["-O3"]}

C_SOURCES = {
    "simd": [f"simd/{name}" for name in [*SIMD, "elementary.c", "select.c"]],
    "threads": ["team.c"],
}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "binding": False,
    "embedsignature": True,
    "auto_pickle": False,  # ops hold addresses: no copies; and a tenth of the wheel
}
CAN_FORK = multiprocessing.get_start_method() == "fork"


class BuildWithFlagsPerFile(build_ext):
    """build_ext with the flags of SIMD added for those files, on all processors."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        compile_one = self.compiler._compile
        gcc = self.has_gcc()

        def compile_with_flags(obj, source, extension, arguments, extra, options):
            name = Path(source).name
            flags = [*extra, *SIMD.get(name, [])]
            if gcc:
                flags += [*GCC_FLAGS, *GCC_SIMD.get(name, [])]
            compile_one(obj, source, extension, arguments, flags, options)

        self.compiler._compile = compile_with_flags
        super().build_extensions()

    def has_gcc(self):
        """Whether the compiler is GCC; clang knows others of its flags."""
        version = [*self.compiler.compiler_so, "--version"]
        return b"clang" not in subprocess.run(version, capture_output=True, check=False).stdout


def extension(source):
    name = source.stem
    return Extension(
        f"nncore._kernels.{name}",
        [str(source), *(str(KERNELS / c) for c in C_SOURCES.get(name, []))],
        include_dirs=[str(KERNELS)],
        depends=[str(path) for path in KERNELS.glob("**/*.h")],
        extra_compile_args=FLAGS,
        extra_link_args=["-pthread"] + (["-s"] if platform.system() == "Linux" else []),
    )


setup(
    ext_modules=cythonize(
        [extension(path) for path in sorted(KERNELS.glob("*.pyx"))],
        compiler_directives=DIRECTIVES,
        build_dir="build/cython",
        nthreads=os.cpu_count() if CAN_FORK else 0,
    ),
    cmdclass={"build_ext": BuildWithFlagsPerFile},
)

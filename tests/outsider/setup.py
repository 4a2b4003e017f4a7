from Cython.Build import cythonize
from setuptools import Extension, setup

import nncore

module = Extension("outsider", ["outsider.pyx"], include_dirs=[nncore.get_include()])
setup(ext_modules=cythonize([module], language_level=3, include_path=[nncore.get_include()]))

# Compiled modules without a stub of their own (ops, for the most part) are Any.
from typing import Any

def __getattr__(name: str) -> Any: ...

"""Fixtures for all tests."""

import pytest

from nncore._kernels import threads
from nncore.machine import processors


@pytest.fixture
def team():
    """team(n): from now on every plan that is built runs on exactly n members, however small it
    is and whatever the machine; undone after the test."""
    before = threads.threads()

    def configure(members: int) -> None:
        threads.configure(members, members, True)

    yield configure
    threads.configure(before, processors(), False)

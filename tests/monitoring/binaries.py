"""The programs of Prometheus, which `pip` does not bring: without them tests are skipped.

With TEDDY_NEED_MONITORING in the environment, as where everything must be tested, they fail
instead."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

NEEDED = "TEDDY_NEED_MONITORING"


def binary(name: str) -> Path:
    """Return the path of a program by Debian's name; upstream's has no `prometheus-` before it.

    Skips the test if there is none, or fails it if TEDDY_NEED_MONITORING is set.
    """
    for candidate in (name, name.removeprefix("prometheus-")):
        if candidate and (found := shutil.which(candidate)):
            return Path(found)
    _missing(name)


def _missing(name: str) -> NoReturn:
    if os.environ.get(NEEDED):
        pytest.fail(f"{name} is not installed, and {NEEDED} is set")
    pytest.skip(f"{name} is not installed")

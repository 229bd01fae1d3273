"""Thresholds of redaction, as `teddy evaluate --recall` writes them."""

import json
from collections.abc import Mapping
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.search import LEAST_THRESHOLD


def read_thresholds(path: Path | None) -> Mapping[str, float]:
    """Return the thresholds by label of a file of JSON; of no file, none.

    Raises DataError for what is not an object of numbers in the range of thresholds.
    """
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise DataError(path, None, "not JSON") from None
    numbers = found.values() if isinstance(found, dict) else [None]
    if not all(isinstance(each, int | float) and LEAST_THRESHOLD <= each <= 1 for each in numbers):
        raise DataError(
            path, None, f"wants an object of labels with numbers from {LEAST_THRESHOLD} to 1"
        )
    return {str(label): float(each) for label, each in found.items()}

import ast
from pathlib import Path

from teddy import service

WALL_CLOCKS = {
    "time",
    "time_ns",
    "now",
    "utcnow",
    "today",
    "gmtime",
    "localtime",
    "set_to_current_time",
}
DATED = {
    "answers.py": "what was answered is found again by when",
    "receiver.py": "an alert that is shown has its time",
    "rows.py": "a correction has its date",
    "store.py": "a file of corrections is named by its date",
    "log.py": "a line has its date",
    "metrics.py": "a gauge of Prometheus is a date",
    "served_model.py": "an answer and the log say when a model was loaded",
    "open_telemetry.py": "a span has its date, and measures by another clock",
    "retries.py": "Retry-After may be a date",
}


def test_a_clock_that_is_set_changes_no_time_out() -> None:
    """Only where a date is shown is the wall clock read; an event loop's `time()` is monotonic, and
    not among these."""
    readers = {
        path.name
        for path in Path(service.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and is_wall_clock(node.func)
    }
    assert readers <= set(DATED)


def is_wall_clock(function: ast.expr) -> bool:
    """Whether it is `time.time` or a like, or one of `datetime`."""
    if not isinstance(function, ast.Attribute) or function.attr not in WALL_CLOCKS:
        return False
    owner = ast.unparse(function.value)
    return (
        owner in ("time", "datetime", "datetime.datetime", "date")
        or function.attr == "set_to_current_time"
    )

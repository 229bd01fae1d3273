"""The one way in which a run writes down a moment."""

import datetime


def timestamp() -> str:
    """Now, in UTC, such as 2031-05-04T03:02:01.123Z."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

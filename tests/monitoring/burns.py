"""Ways to miss the objectives, and the windows whose alerts must then fire, and no others.

The bad answers begin after many hours of good ones: a window of three days on a service that is two
hours old has two hours in it. Where only long windows matter, a value every ten minutes is enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.monitoring.series import counter

HOUR, DAY = 60, 24 * 60
OF_ALL = ("1h", "6h", "1d", "3d")
GRANTED = {"TeddyErrorBudgetBurning": 0.001, "TeddyLatencyBudgetBurning": 0.01}
"""The share of requests that may be bad, by the alert on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """So many times what is granted is bad, for so many minutes; before and after, nothing is.

    `at`: the windows of the alerts that fire, by minutes after it began.
    """

    name: str
    times: float
    minutes: int
    at: Mapping[int, Sequence[str]]
    per_minute: float = 600
    before_minutes: int = 20 * HOUR
    step_minutes: int = 2

    def series(self) -> dict[str, str]:
        """The requests of one instance, which are bad for both objectives."""
        instance = 'job="teddy",instance="a:8000"'
        route = f'{instance},method="POST",route="/v1/entities"'
        failing, slow = (min(1, self.times * granted) for granted in GRANTED.values())
        return {
            f'teddy_requests_total{{{route},status="200"}}': self._counter(1, 1 - failing),
            f'teddy_requests_total{{{route},status="500"}}': self._counter(0, failing),
            f"teddy_short_request_seconds_count{{{instance}}}": self._counter(1, 1),
            f'teddy_short_request_seconds_bucket{{{instance},le="0.1"}}': self._counter(
                1, 1 - slow
            ),
        }

    def _counter(self, otherwise: float, meanwhile: float) -> str:
        legs = [(otherwise, self.before_minutes), (meanwhile, self.minutes), (otherwise, 2 * HOUR)]
        return counter(
            *((share * self.per_minute, minutes) for share, minutes in legs), step=self.step_minutes
        )


BURNS = (
    Burn(
        name="so much is bad for a while",
        times=50,
        minutes=20,
        at={0: (), 10: (), 20: ("1h",), 30: ()},
    ),
    Burn(
        name="much is bad for hours",
        times=10,
        minutes=5 * HOUR,
        at={3 * HOUR: (), 4 * HOUR: ("6h",), 5 * HOUR: ("6h",), 6 * HOUR: ()},
        before_minutes=3 * DAY,
        step_minutes=10,
    ),
    Burn(
        name="some is bad for a day",
        times=4,
        minutes=DAY,
        at={12 * HOUR: (), DAY: ("1d", "3d")},
        before_minutes=2 * DAY,
        step_minutes=10,
    ),
    Burn(
        name="a little too much is bad for days",
        times=1.5,
        minutes=3 * DAY,
        at={DAY: (), 3 * DAY: ("3d",)},
        before_minutes=DAY,
        step_minutes=10,
    ),
    Burn(
        name="as much is bad as may be",
        times=0.9,
        minutes=3 * DAY,
        at={HOUR: (), DAY: (), 3 * DAY: ()},
        before_minutes=HOUR,
        step_minutes=10,
    ),
    Burn(
        name="one of thirty requests in an hour is bad",
        times=1000,
        minutes=2,
        at={10: (), 30: ()},
        per_minute=0.5,
        before_minutes=2 * HOUR,
    ),
    Burn(
        name="twelve requests come in an hour, and all are bad",
        times=1000,
        minutes=2 * HOUR,
        at={40: (), 60: OF_ALL},
        per_minute=0.2,
        before_minutes=2 * HOUR,
    ),
    Burn(
        name="nothing is asked",
        times=0,
        minutes=HOUR,
        at={30: ()},
        per_minute=0,
        before_minutes=HOUR,
    ),
)

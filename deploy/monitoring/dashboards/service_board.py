"""The dashboard of the service: does it answer, fast enough, and for how much longer can it go on like this."""

from deploy.monitoring.dashboards.board import Board, Mark, Row
from deploy.monitoring.dashboards.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Panel,
    Query,
    Scale,
    graph,
    stat,
    timeline,
)

OBJECTIVE_SECONDS = 0.1
BAD_ALLOWED, SLOW_ALLOWED = 0.001, 0.01
"""The objectives: 99.9 % of the requests for entities are answered, 99 % of the short ones within
0.1 s."""
FAST_BURN = 14.4
"""From where on somebody is woken: at this rate a month's budget lasts two days."""
JOB = '{job="teddy"}'
REAL_ALERTS = 'alertstate="firing", alertname!="TeddyMonitoringAlive"'

RELOADS = Mark(
    name="Model loaded",
    expression="max by (name) (teddy_model_loaded_timestamp_seconds) * 1000",
    text="{{name}}",
    colour=BLUE,
)


def service_board() -> Board:
    """What requests meet.

    One screen, and the first row is green when nobody needs to read the others.
    """
    return Board(
        uid="teddy-service",
        title="Teddy: service",
        description="Whether the service is healthy. The first row says it; the others say why.",
        rows=(
            Row(5, (_up(), _budget(), _slow_end(), _queue_fill(), _firing())),
            Row(7, (_requests(), _latency())),
            Row(7, (_burn(), _queue_wait())),
            Row(6, (_alerts(), _refused(), _memory())),
        ),
        marks=(RELOADS,),
    )


def _up() -> Panel:
    return stat(
        "Service",
        "UP when every instance answers Prometheus; else how many of them do.",
        Query(expression=f"avg(up{JOB}) or vector(0)"),
        scale=Scale(
            unit="percentunit",
            lowest=RED,
            steps=((1, GREEN),),
            words={0: ("DOWN", RED), 1: ("UP", GREEN)},
        ),
        runbooks=("TeddyDown",),
        width=4,
    )


def _budget() -> Panel:
    return stat(
        "Error budget left, of 30 days",
        "Of the failures that the objectives allow, the share not used up yet; each day counts alike. Availability: "
        "99.9 % of the requests for entities are not answered with a 5xx. Latency: 99 % of the short ones are answered "
        "within 100 ms. Below 0 the objective is missed.",
        Query(
            expression=f"1 - avg_over_time(job:teddy_requests_bad:ratio_rate1d{JOB}[30d]) / {BAD_ALLOWED}",
            legend="availability",
        ),
        Query(
            expression=f"1 - avg_over_time(job:teddy_short_requests_slow:ratio_rate1d{JOB}[30d]) / {SLOW_ALLOWED}",
            legend="latency",
        ),
        scale=Scale(
            unit="percentunit",
            decimals=0,
            least=None,
            lowest=RED,
            steps=((0, ORANGE), (0.25, GREEN)),
            nothing="no traffic",
        ),
        text="value_and_name",
        runbooks=("TeddyErrorBudgetBurning", "TeddyLatencyBudgetBurning"),
        width=7,
    )


def _slow_end() -> Panel:
    return stat(
        "99 % answered within",
        "Of the short requests (up to 256 words) of the last 5 minutes. The objective is 100 ms.",
        Query(expression=f"job:teddy_short_request_seconds:p99_rate5m{JOB}"),
        scale=Scale(
            unit="s",
            steps=((0.8 * OBJECTIVE_SECONDS, ORANGE), (OBJECTIVE_SECONDS, RED)),
            nothing="no traffic",
        ),
        runbooks=("TeddyLatencyBudgetBurning",),
        width=4,
    )


def _queue_fill() -> Panel:
    return stat(
        "Queue",
        "Words that wait, of those that may. When it is full, requests are refused with 503. The fullest instance.",
        Query(expression="max(instance:teddy_queue_fill:ratio)"),
        scale=Scale(unit="percentunit", decimals=0, most=1, steps=((0.5, ORANGE), (0.8, RED))),
        runbooks=("TeddySaturated",),
        width=4,
    )


def _firing() -> Panel:
    return stat(
        "Alerts firing",
        "Pages wake somebody; tickets wait for working hours. Below is which they are, and what to do about each is in "
        "the runbooks.",
        Query(
            expression=f'count(ALERTS{{{REAL_ALERTS}, severity="page"}}) or vector(0)',
            legend="pages",
        ),
        Query(
            expression=f'count(ALERTS{{{REAL_ALERTS}, severity="ticket"}}) or vector(0)',
            legend="tickets",
        ),
        scale=Scale(unit="none", steps=((1, RED),)),
        scales={"tickets": Scale(unit="none", steps=((1, ORANGE),))},
        text="value_and_name",
    )


def _requests() -> Panel:
    def of(status: str) -> str:
        return (
            f'sum(job_status:teddy_requests:rate5m{{job="teddy", status=~"{status}"}}) or vector(0)'
        )

    return graph(
        "Requests a second",
        "Mean of 5 minutes. Rejected: 4xx, for what the client sent or because it sent too much. Failed: 5xx.",
        Query(expression=of("2.."), legend="answered"),
        Query(expression=of("4.."), legend="rejected"),
        Query(expression=of("5.."), legend="failed"),
        scale=Scale(unit="reqps"),
        colours={"answered": GREEN, "rejected": ORANGE, "failed": RED},
        stacked=True,
        runbooks=("TeddyErrorBudgetBurning",),
    )


def _latency() -> Panel:
    return graph(
        "Time to answer a short request",
        "Of requests with up to 256 words: half are faster than p50, 99 % faster than p99. The line is the objective.",
        Query(expression=f"job:teddy_short_request_seconds:p99_rate5m{JOB}", legend="p99"),
        Query(expression=f"job:teddy_short_request_seconds:p50_rate5m{JOB}", legend="p50"),
        scale=Scale(unit="s", steps=((OBJECTIVE_SECONDS, RED),)),
        colours={"p99": ORANGE, "p50": BLUE},
        runbooks=("TeddyLatencyBudgetBurning",),
    )


def _burn() -> Panel:
    return graph(
        "How fast the error budget burns",
        "At 1 a month's budget lasts a month; at 14.4 it lasts two days and somebody is woken. Mean of an hour.",
        Query(
            expression=f"job:teddy_requests_bad:ratio_rate1h{JOB} / {BAD_ALLOWED}",
            legend="availability",
        ),
        Query(
            expression=f"job:teddy_short_requests_slow:ratio_rate1h{JOB} / {SLOW_ALLOWED}",
            legend="latency",
        ),
        scale=Scale(decimals=1, steps=((1, ORANGE), (FAST_BURN, RED))),
        colours={"availability": RED, "latency": ORANGE},
        runbooks=("TeddyErrorBudgetBurning", "TeddyLatencyBudgetBurning"),
    )


def _queue_wait() -> Panel:
    return graph(
        "Wait in the queue, and in the event loop",
        "99 % wait less than this: in the queue for the network, and for the event loop, which reads and writes.",
        Query(expression=f"job:teddy_queue_wait_seconds:p99_rate5m{JOB}", legend="queue"),
        Query(
            expression="max(instance:teddy_event_loop_lag_seconds:p99_rate5m)", legend="event loop"
        ),
        scale=Scale(unit="s"),
        colours={"queue": BLUE, "event loop": "purple"},
        runbooks=("TeddySaturated", "TeddyEventLoopLag"),
    )


def _alerts() -> Panel:
    return timeline(
        "Which alerts fire",
        "A bar for each, as long as it fired. Empty is good.",
        Query(
            expression=f"max by (alertname, severity) (ALERTS{{{REAL_ALERTS}}})",
            legend="{{alertname}}",
        ),
        scale=Scale(unit="none", words={1: ("firing", RED)}, nothing="none"),
    )


def _refused() -> Panel:
    return graph(
        "Refused, by reason",
        "Requests a second that were answered with a problem, mean of 5 minutes. Reasons are those of docs/service.md.",
        Query(expression=f"job_reason:teddy_refused:rate5m{JOB} > 0", legend="{{reason}}"),
        scale=Scale(unit="reqps", nothing="none"),
        stacked=True,
        runbooks=("TeddySaturated",),
    )


def _memory() -> Panel:
    return graph(
        "Memory of the workers",
        "Resident, with what they share. A line that only rises is a leak.",
        Query(
            expression=f"max by (instance, worker) (teddy_worker_resident_bytes{JOB})",
            legend="worker {{worker}}",
        ),
        scale=Scale(unit="bytes"),
    )

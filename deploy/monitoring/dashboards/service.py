"""The dashboard of the service: does it answer, how fast, and how near are its limits.

The first row is green while nothing needs attention.
"""

from deploy.monitoring.dashboards.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Dashboard,
    Scale,
    graph,
    mark,
    stat,
    timeline,
)

OBJECTIVE_SECONDS = 0.1
BAD_ALLOWED, SLOW_ALLOWED = 0.001, 0.01
"""The objectives: 99.9 % of the requests for entities are answered, 99 % of the short ones within
0.1 s."""
FAST_BURN = 14.4
"""The rate that pages: at it a month's budget lasts two days."""
JOB = '{job="teddy"}'
REAL_ALERTS = 'alertstate="firing", alertname!="TeddyMonitoringAlive"'
BUDGETS = ("TeddyErrorBudgetBurning", "TeddyLatencyBudgetBurning")
P99 = f"job:teddy_short_request_seconds:p99_rate5m{JOB}"

RELOADS = mark(
    "Model loaded",
    "max by (name) (teddy_model_loaded_timestamp_seconds) * 1000",
    "{{name}}",
    BLUE,
)


def _firing(severity: str) -> str:
    return f'count(ALERTS{{{REAL_ALERTS}, severity="{severity}"}}) or vector(0)'


def _requests(status: str) -> str:
    return f'sum(job_status:teddy_requests:rate5m{{job="teddy", status=~"{status}"}}) or vector(0)'


def _budget_left(metric: str, allowed: float) -> str:
    return f"1 - avg_over_time(job:{metric}:ratio_rate1d{JOB}[30d]) / {allowed}"


def _burn(metric: str, allowed: float) -> str:
    return f"job:{metric}:ratio_rate1h{JOB} / {allowed}"


UP = stat(
    "Service",
    "UP when every instance answers Prometheus; else how many of them do.",
    {"": f"avg(up{JOB}) or vector(0)"},
    Scale(
        unit="percentunit",
        lowest=RED,
        steps=((1, GREEN),),
        words={0: ("DOWN", RED), 1: ("UP", GREEN)},
    ),
    runbooks=("TeddyDown",),
    width=4,
)
BUDGET = stat(
    "Error budget left, of 30 days",
    "Of the failures that the objectives allow, the share not used up yet; each day counts alike. "
    "Availability: 99.9 % of the requests for entities are not answered with a 5xx. "
    "Latency: 99 % of the short ones are answered within 100 ms. "
    "Below 0 the objective is missed.",
    {
        "availability": _budget_left("teddy_requests_bad", BAD_ALLOWED),
        "latency": _budget_left("teddy_short_requests_slow", SLOW_ALLOWED),
    },
    Scale(
        unit="percentunit",
        decimals=0,
        least=None,
        lowest=RED,
        steps=((0, ORANGE), (0.25, GREEN)),
        nothing="no traffic",
    ),
    text="value_and_name",
    runbooks=BUDGETS,
    width=7,
)
SLOWEST = stat(
    "99 % answered within",
    "Of the short requests (up to 256 words) of the last 5 minutes. The objective is 100 ms.",
    {"": P99},
    Scale(
        unit="s",
        steps=((0.8 * OBJECTIVE_SECONDS, ORANGE), (OBJECTIVE_SECONDS, RED)),
        nothing="no traffic",
    ),
    runbooks=("TeddyLatencyBudgetBurning",),
    width=4,
)
QUEUE = stat(
    "Queue",
    "Words that wait, as a share of the most that may wait, in the fullest instance. "
    "When the queue is full, requests are refused with 503.",
    {"": "max(instance:teddy_queue_fill:ratio)"},
    Scale(unit="percentunit", decimals=0, most=1, steps=((0.5, ORANGE), (0.8, RED))),
    runbooks=("TeddySaturated",),
    width=4,
)
FIRING = stat(
    "Alerts firing",
    "Pages need someone now; tickets can wait for working hours. "
    "Which they are is shown below, and what to do about each is in the runbooks.",
    {"pages": _firing("page"), "tickets": _firing("ticket")},
    Scale(unit="none", steps=((1, RED),)),
    scales={"tickets": Scale(unit="none", steps=((1, ORANGE),))},
    text="value_and_name",
)
REQUESTS = graph(
    "Requests a second",
    "Mean of 5 minutes. Rejected: 4xx, for what the client sent or because it sent too much. "
    "Failed: 5xx.",
    {"answered": _requests("2.."), "rejected": _requests("4.."), "failed": _requests("5..")},
    Scale(unit="reqps"),
    colours={"answered": GREEN, "rejected": ORANGE, "failed": RED},
    stacked=True,
    runbooks=("TeddyErrorBudgetBurning",),
)
LATENCY = graph(
    "Time to answer a short request",
    "Of requests with up to 256 words: half are faster than p50, 99 % faster than p99. "
    "The line is the objective.",
    {"p99": P99, "p50": f"job:teddy_short_request_seconds:p50_rate5m{JOB}"},
    Scale(unit="s", steps=((OBJECTIVE_SECONDS, RED),)),
    colours={"p99": ORANGE, "p50": BLUE},
    runbooks=("TeddyLatencyBudgetBurning",),
)
BURN = graph(
    "How fast the error budget burns",
    "At 1 a month's budget lasts a month; at 14.4 it lasts two days and an alert pages. "
    "Mean of an hour.",
    {
        "availability": _burn("teddy_requests_bad", BAD_ALLOWED),
        "latency": _burn("teddy_short_requests_slow", SLOW_ALLOWED),
    },
    Scale(decimals=1, steps=((1, ORANGE), (FAST_BURN, RED))),
    colours={"availability": RED, "latency": ORANGE},
    runbooks=BUDGETS,
)
WAIT = graph(
    "Wait in the queue, and in the event loop",
    "99 % wait less than this: in the queue for the network, and for the event loop, "
    "which reads and writes.",
    {
        "queue": f"job:teddy_queue_wait_seconds:p99_rate5m{JOB}",
        "event loop": "max(instance:teddy_event_loop_lag_seconds:p99_rate5m)",
    },
    Scale(unit="s"),
    colours={"queue": BLUE, "event loop": "purple"},
    runbooks=("TeddySaturated", "TeddyEventLoopLag"),
)
ALERTS = timeline(
    "Which alerts fire",
    "A bar for each, as long as it fired. Empty is good.",
    {"{{alertname}}": f"max by (alertname, severity) (ALERTS{{{REAL_ALERTS}}})"},
    Scale(unit="none", words={1: ("firing", RED)}, nothing="none"),
)
REFUSED = graph(
    "Refused, by reason",
    "Requests a second that were answered with a problem, mean of 5 minutes. "
    "Reasons are those of docs/service.md.",
    {"{{reason}}": f"job_reason:teddy_refused:rate5m{JOB} > 0"},
    Scale(unit="reqps", nothing="none"),
    stacked=True,
    runbooks=("TeddySaturated",),
)
MEMORY = graph(
    "Memory of the workers",
    "Resident, with what they share. A line that only rises is a leak.",
    {"worker {{worker}}": f"max by (instance, worker) (teddy_worker_resident_bytes{JOB})"},
    Scale(unit="bytes"),
)

SERVICE = Dashboard(
    uid="teddy-service",
    title="Teddy: service",
    about="Whether the service is healthy. The first row says it; the others say why.",
    rows=(
        (5, (UP, BUDGET, SLOWEST, QUEUE, FIRING)),
        (7, (REQUESTS, LATENCY)),
        (7, (BURN, WAIT)),
        (6, (ALERTS, REFUSED, MEMORY)),
    ),
    marks=(RELOADS,),
)

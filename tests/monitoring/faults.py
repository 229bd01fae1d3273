"""Faults as series over time, and which alerts must then fire, and no others.

Each fault is put into two healthy instances and a training job, minute by minute. So it is shown as
often as there are faults that every other alert is silent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.monitoring.series import counter, gauge, later

A, B = 'job="teddy",instance="a:8000"', 'job="teddy",instance="b:8000"'
NODE, TRAINING = 'job="node",instance="node:9100"', 'job="node",instance="node:9100",run="mine"'
RULE_FAILURES = 'prometheus_rule_evaluation_failures_total{job="prometheus",rule_group="teddy"}'

OF_INSTANCE = {
    "up": 1,
    "teddy_workers": 2,
    "teddy_workers_wanted": 2,
    "teddy_queue_words": 1000,
    "teddy_queue_capacity_words": 100_000,
    "teddy_feedback_stored_bytes": 10,
    "teddy_feedback_capacity_bytes": 100,
    "teddy_worker_restarts_total": 0,
    "teddy_log_lines_lost_total": 0,
}
OF_MODEL = {
    'teddy_truncated_words_total{%s,model="en"}': 0,
    'teddy_feedback_total{%s,model="en"}': 500,
    'teddy_feedback_f1{%s,model="en"}': 0.85,
    'teddy_drift_psi{%s,model="en",feature="label"}': 0.05,
    'teddy_drift_psi{%s,model="en",feature="script"}': 0.05,
    'teddy_drift_psi{%s,model="en",feature="case"}': 0.05,
    'teddy_drift_psi{%s,model="en",feature="sentence_length"}': 1.2,
    'teddy_model_info{%s,name="en",version="1"}': 1,
    'teddy_model_dev_f1{%s,name="en"}': 0.9,
    'teddy_model_refused{%s,name="en"}': 0,
}
PER_MINUTE = {
    'teddy_requests_total{%s,method="POST",route="/v1/entities",status="200"}': 600,
    'teddy_requests_total{%s,method="POST",route="/v1/entities",status="500"}': 0,
    "teddy_short_request_seconds_count{%s}": 600,
    'teddy_short_request_seconds_bucket{%s,le="0.1"}': 599,
    'teddy_event_loop_lag_seconds_bucket{%s,le="0.005"}': 1000,
    'teddy_event_loop_lag_seconds_bucket{%s,le="0.25"}': 1000,
    'teddy_event_loop_lag_seconds_bucket{%s,le="+Inf"}': 1000,
    'teddy_refused_total{%s,reason="queue-full"}': 0,
    'teddy_refused_total{%s,reason="client-share"}': 0,
    'teddy_refused_total{%s,reason="invalid-request"}': 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Series that take the place of healthy ones, or are added to them.

    `silent` and `firing`: minutes after the fault has begun. When something fires, so many series
    of each of `alerts` do."""

    name: str
    series: Mapping[str, str] = field(default_factory=dict)
    alerts: Mapping[str, int] = field(default_factory=dict)
    silent: Sequence[int] = ()
    firing: Sequence[int] = ()


def healthy() -> dict[str, str]:
    """Two instances that answer ten requests a second each, mostly quickly, and a training job."""
    series = {
        f"up{{{NODE}}}": gauge(1, 1),
        f"node_textfile_scrape_error{{{NODE}}}": gauge(0, 0),
        RULE_FAILURES: gauge(0, 0),
        f'teddy_training_state{{{TRAINING},state="running"}}': gauge(1, 1),
        f"teddy_training_updated_timestamp_seconds{{{TRAINING}}}": counter(60, 60),
    }
    for each in (A, B):
        series |= {f"{name}{{{each}}}": gauge(value, value) for name, value in OF_INSTANCE.items()}
        series |= {name % each: gauge(value, value) for name, value in OF_MODEL.items()}
        series |= {name % each: counter(rate, rate) for name, rate in PER_MINUTE.items()}
    return series


def of_both(name: str, values: str) -> dict[str, str]:
    """The same series of both instances."""
    return {name % each: values for each in (A, B)}


def _of_instances() -> Iterable[Fault]:
    yield Fault(name="nothing", silent=(-3, 0, 20))
    yield Fault(
        name="no instance can be scraped",
        series=of_both("up{%s}", gauge(1, (0, 3), 1)),
        alerts={"TeddyDown": 1},
        silent=(0, 3),
        firing=(1, 2),
    )
    yield Fault(
        name="Prometheus knows of no instance any more",
        series=of_both("up{%s}", gauge(1)),
        alerts={"TeddyDown": 1},
        silent=(0,),
        firing=(6,),
    )
    yield Fault(
        name="no instance has a worker",
        series=of_both("teddy_workers{%s}", gauge(2, 0)),
        alerts={"TeddyDown": 1},
        silent=(0,),
        firing=(1, 4),
    )
    yield Fault(
        name="one instance of two is down",
        series={f"up{{{A}}}": gauge(1, (0, 7), 1)},
        alerts={"TeddyInstanceDown": 1},
        silent=(4, 7),
        firing=(5, 6),
    )
    yield Fault(
        name="a worker does not come back",
        series={f"teddy_workers{{{A}}}": gauge(2, (1, 10), 2)},
        alerts={"TeddyWorkersMissing": 1},
        silent=(4, 10),
        firing=(5, 9),
    )
    yield Fault(
        name="workers die again and again",
        series={f"teddy_worker_restarts_total{{{A}}}": counter(0, (0.25, 16), 0)},
        alerts={"TeddyWorkersRestarting": 1},
        silent=(4, 32),
        firing=(15,),
    )
    yield Fault(
        name="one worker dies",
        series={f"teddy_worker_restarts_total{{{A}}}": counter(0, (1, 1), 0)},
        silent=(0, 1, 2, 4),
    )


def _of_load() -> Iterable[Fault]:
    yield Fault(
        name="the queue is nearly full",
        series={f"teddy_queue_words{{{A}}}": gauge(1000, (90_000, 10), 1000)},
        alerts={"TeddySaturated": 1},
        silent=(4, 10),
        firing=(5, 9),
    )
    yield Fault(
        name="the queue was full for a moment",
        series={f"teddy_queue_words{{{A}}}": gauge(1000, (100_000, 4), 1000)},
        silent=(0, 3, 5, 6),
    )
    yield Fault(
        name="requests are refused for want of room",
        series={f'teddy_refused_total{{{A},reason="queue-full"}}': counter(0, 60)},
        alerts={"TeddySaturated": 1},
        silent=(4,),
        firing=(7, 10),
    )
    yield Fault(
        name="requests are refused that are wrong, or of one client too many",
        series={
            f'teddy_refused_total{{{A},reason="invalid-request"}}': counter(0, 60),
            f'teddy_refused_total{{{A},reason="client-share"}}': counter(0, 60),
        },
        silent=(4, 7, 10),
    )
    yield Fault(
        name="the event loop is late",
        series={f'teddy_event_loop_lag_seconds_bucket{{{A},le="0.005"}}': counter(1000, 900)},
        alerts={"TeddyEventLoopLag": 1},
        silent=(9,),
        firing=(12, 15),
    )
    yield Fault(
        name="lines of the log are lost",
        series={f"teddy_log_lines_lost_total{{{A}}}": counter(0, (3, 1), 0)},
        alerts={"TeddyLogLinesLost": 1},
        silent=(0, 16),
        firing=(1, 10),
    )


def _of_models() -> Iterable[Fault]:
    yield Fault(
        name="a file is refused, and later another taken",
        series={f'teddy_model_refused{{{A},name="en"}}': gauge(0, (1, 9), 0)},
        alerts={"TeddyModelReloadFailed": 1},
        silent=(-1, 9, 15),
        firing=(0, 4, 8),
    )
    yield Fault(
        name="the first file of a name is refused",
        series={f'teddy_model_refused{{{A},name="new"}}': later(gauge(1, 1))},
        alerts={"TeddyModelReloadFailed": 1},
        silent=(-1,),
        firing=(0, 7),
    )
    yield Fault(
        name="the instances serve two versions",
        series={
            f'teddy_model_info{{{A},name="en",version="1"}}': gauge(1, 0),
            f'teddy_model_info{{{A},name="en",version="2"}}': gauge(0, 1),
        },
        alerts={"TeddyModelsDiffer": 1},
        silent=(14,),
        firing=(15, 16),
    )
    yield Fault(
        name="words got no tag",
        series={f'teddy_truncated_words_total{{{A},model="en"}}': gauge(0, 3)},
        alerts={"TeddyTruncation": 1},
        silent=(-1,),
        firing=(0, 6),
    )


def _of_quality() -> Iterable[Fault]:
    f1 = f'teddy_feedback_f1{{{A},model="en"}}'
    yield Fault(
        name="texts are of another kind",
        series={f'teddy_drift_psi{{{A},model="en",feature="label"}}': gauge(0.05, (0.6, 20), 0.2)},
        alerts={"TeddyDrift": 1},
        silent=(14, 20, 22),
        firing=(15, 19),
    )
    yield Fault(
        name="texts have no capitals any more",
        series={f'teddy_drift_psi{{{A},model="en",feature="case"}}': gauge(0.05, (0.8, 20), 0.05)},
        alerts={"TeddyDrift": 1},
        silent=(14, 20, 22),
        firing=(15, 19),
    )
    yield Fault(
        name="texts have always been longer than the reference, and are a little more so",
        series={f'teddy_drift_psi{{{A},model="en",feature="sentence_length"}}': gauge(1.2, 2)},
        silent=(15, 30),
    )
    yield Fault(
        name="answers are corrected more than they were",
        series={f1: gauge(0.85, 0.7)},
        alerts={"TeddyFeedbackWorse": 1},
        silent=(0, 59),
        firing=(60,),
    )
    yield Fault(
        name="a few answers are corrected",
        series={
            f1: gauge(0.1, 0.1),
            **of_both('teddy_feedback_total{%s,model="en"}', gauge(10, 10)),
        },
        silent=(0, 60),
    )
    yield Fault(
        name="the room for corrections is used up",
        series={f"teddy_feedback_stored_bytes{{{A}}}": gauge(10, 91)},
        alerts={"TeddyFeedbackFull": 1},
        silent=(-1,),
        firing=(0, 6),
    )


def _of_training() -> Iterable[Fault]:
    stopped = {f"teddy_training_updated_timestamp_seconds{{{TRAINING}}}": counter(60, 0)}
    yield Fault(
        name="a job does not move",
        series=stopped,
        alerts={"TeddyTrainingStalled": 1},
        silent=(14, 15),
        firing=(17, 20),
    )
    ends = {
        "failed": "TeddyTrainingFailed",
        "diverged": "TeddyTrainingDiverged",
        "finished": "",
        "interrupted": "",
    }
    for state, alert in ends.items():
        over = {
            f'teddy_training_state{{{TRAINING},state="running"}}': gauge(1, 0),
            f'teddy_training_state{{{TRAINING},state="{state}"}}': gauge(0, 1),
        }
        times = (0, 17)
        yield Fault(
            name=f"the end of a job: {state}",
            series=stopped | over,
            alerts={alert: 1} if alert else {},
            silent=(-1,) if alert else times,
            firing=times if alert else (),
        )


def _of_monitoring() -> Iterable[Fault]:
    yield Fault(
        name="the node-exporter does not answer",
        series={f"up{{{NODE}}}": gauge(1, 0)},
        alerts={"TeddyTrainingUnseen": 1},
        silent=(14,),
        firing=(15,),
    )
    yield Fault(
        name="a job's file cannot be read",
        series={f"node_textfile_scrape_error{{{NODE}}}": gauge(0, 1)},
        alerts={"TeddyTrainingUnseen": 1},
        silent=(14,),
        firing=(15,),
    )
    yield Fault(
        name="rules cannot be evaluated",
        series={RULE_FAILURES: gauge(0, 3)},
        alerts={"TeddyRulesFailing": 1},
        silent=(-1, 20),
        firing=(0, 10),
    )


FAULTS = (
    *_of_instances(),
    *_of_load(),
    *_of_models(),
    *_of_quality(),
    *_of_training(),
    *_of_monitoring(),
)

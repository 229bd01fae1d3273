"""The dashboard of training jobs: do they run, do they learn, and what would a crash lose."""

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
    variable,
)

STATES = {
    "running": BLUE,
    "finished": GREEN,
    "interrupted": ORANGE,
    "diverged": RED,
    "failed": RED,
}
RUN = 'run=~"$run"'
RUNNING = 'on (run) (max by (run) (teddy_training_state{state="running"}) == 1)'
PER_RUN = "{{run}}"
STATE_SCALE = Scale(unit="none", words=dict(enumerate(STATES.items(), 1)), nothing="no run")
STATE_NUMBER = " + ".join(
    f'{number} * max by (run) (teddy_training_state{{{RUN}, state="{state}"}})'
    for number, state in enumerate(STATES, 1)
)
"""One number for each run's state: Grafana colours numbers, Prometheus has a series per state."""


def _of(metric: str) -> str:
    return f"max by (run) (teddy_training_{metric}{{{RUN}}})"


STATE = stat(
    "State",
    "The last known state of each run. Interrupted: a signal ended it, and it can be resumed.",
    {PER_RUN: STATE_NUMBER},
    STATE_SCALE,
    text="value_and_name",
    runbooks=("TeddyTrainingFailed", "TeddyTrainingDiverged"),
    width=8,
)
PROGRESS = stat(
    "Done",
    "Updates made, of those planned. A run may end sooner, when it no longer improves.",
    {PER_RUN: f"run:teddy_training_progress:ratio{{{RUN}}}"},
    Scale(unit="percentunit", decimals=0, most=1, nothing="no run"),
)
BEST = stat(
    "Best F1 on dev",
    "Of labelled data that the run does not train on.",
    {PER_RUN: _of("best_dev_f1")},
    Scale(unit="percentunit", decimals=1, most=1, nothing="not evaluated yet"),
)
SILENCE = stat(
    "Last sign of life",
    "How long ago running jobs last made progress. A silent one hangs, or was killed.",
    {PER_RUN: f"time() - {_of('updated_timestamp_seconds')} and {RUNNING}"},
    Scale(unit="s", decimals=0, steps=((300, ORANGE), (900, RED)), nothing="nothing runs"),
    runbooks=("TeddyTrainingStalled",),
)
UNSAVED = stat(
    "Last checkpoint",
    "How long ago running jobs last wrote one: this much work would be lost with the machine.",
    {PER_RUN: f"time() - {_of('checkpoint_timestamp_seconds')} and {RUNNING}"},
    Scale(unit="s", decimals=0, steps=((3600, ORANGE), (4 * 3600, RED)), nothing="nothing runs"),
    runbooks=("TeddyTrainingStalled",),
)
LOSS = graph(
    "Loss",
    "Of the batches trained on, smoothed, and on dev. "
    "Training loss that falls while dev loss rises is overfitting.",
    {"{{run}}, training": _of("loss"), "{{run}}, dev": _of("dev_loss")},
    Scale(least=None),
    logarithmic=True,
    runbooks=("TeddyTrainingDiverged",),
)
DEV = graph(
    "F1, precision and recall on dev",
    "At each evaluation.",
    {
        "{{run}}, F1": _of("dev_f1"),
        "{{run}}, precision": _of("dev_precision"),
        "{{run}}, recall": _of("dev_recall"),
    },
    Scale(unit="percentunit", decimals=1, least=None, most=1),
)
GRADIENT = graph(
    "Gradient norm",
    "Before it is clipped. Sudden rises come before a run that diverges.",
    {PER_RUN: _of("gradient_norm")},
    Scale(least=None),
    logarithmic=True,
)
PERPLEXITY = graph(
    "Perplexity of pre-training",
    "On held-out text: among how many equally likely pieces the model has to guess. "
    "Lower is better.",
    {PER_RUN: _of("perplexity")},
    Scale(least=None, nothing="no pre-training"),
    logarithmic=True,
)
SPEED = graph(
    "Words a second",
    "That running jobs train on, without evaluations and checkpoints.",
    {PER_RUN: f"{_of('words_per_second')} and {RUNNING}"},
    Scale(nothing="nothing runs"),
)
MEMORY = graph(
    "Memory of the jobs", "Resident.", {PER_RUN: _of("resident_bytes")}, Scale(unit="bytes")
)
STATES_OVER_TIME = timeline(
    "States over time", "A band for each run.", {PER_RUN: STATE_NUMBER}, STATE_SCALE
)

TRAINING = Dashboard(
    uid="teddy-training",
    title="Teddy: training",
    about="How the training jobs are doing.",
    rows=(
        (5, (STATE, PROGRESS, BEST, SILENCE, UNSAVED)),
        (8, (LOSS, DEV)),
        (7, (GRADIENT, PERPLEXITY, SPEED, MEMORY)),
        (5, (STATES_OVER_TIME,)),
    ),
    variables=(variable("run", "Run", "teddy_training_state, run"),),
    marks=(
        mark(
            "Training ended",
            "max by (run) (teddy_training_updated_timestamp_seconds) * 1000"
            ' and on (run) (max by (run) (teddy_training_state{state!="running"}) == 1)',
            PER_RUN,
            ORANGE,
        ),
    ),
    since="now-12h",
    refresh="30s",
)

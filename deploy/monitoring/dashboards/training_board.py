"""The dashboard of the training jobs: do they run, do they learn, and would they survive the machine's end."""

from deploy.monitoring.dashboards.board import Board, Choice, Mark, Row
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

STATES = {
    "running": ("running", BLUE),
    "finished": ("finished", GREEN),
    "interrupted": ("interrupted", ORANGE),
    "diverged": ("diverged", RED),
    "failed": ("failed", RED),
}
RUN = 'run=~"$run"'
RUNNING = 'on (run) (max by (run) (teddy_training_state{state="running"}) == 1)'
PER_RUN = "{{run}}"


def training_board() -> Board:
    """The jobs that `teddy train` and `teddy pretrain` tell of."""
    return Board(
        uid="teddy-training",
        title="Teddy: training",
        description="How the training jobs are doing.",
        rows=(
            Row(5, (_state(), _progress(), _best(), _silence(), _unsaved())),
            Row(8, (_loss(), _dev())),
            Row(7, (_gradient(), _perplexity(), _speed(), _memory())),
            Row(5, (_states(),)),
        ),
        choices=(Choice(name="run", title="Run", metric="teddy_training_state", label="run"),),
        marks=(
            Mark(
                name="Training ended",
                expression="max by (run) (teddy_training_updated_timestamp_seconds) * 1000"
                ' and on (run) (max by (run) (teddy_training_state{state!="running"}) == 1)',
                text=PER_RUN,
                colour=ORANGE,
            ),
        ),
        since="now-12h",
        refresh="30s",
    )


def _of(metric: str) -> str:
    return f"max by (run) (teddy_training_{metric}{{{RUN}}})"


def _coded_state() -> str:
    """One number for each run's state: Grafana paints numbers, and Prometheus has a series for each state."""
    numbered = (
        f'{number} * max by (run) (teddy_training_state{{{RUN}, state="{state}"}})'
        for number, state in enumerate(STATES, 1)
    )
    return " + ".join(numbered)


def _state_scale() -> Scale:
    return Scale(unit="none", words=dict(enumerate(STATES.values(), 1)), nothing="no run")


def _state() -> Panel:
    return stat(
        "State",
        "Of each run, as it said last. Interrupted: a signal ended it, and it can be resumed.",
        Query(expression=_coded_state(), legend=PER_RUN),
        scale=_state_scale(),
        text="value_and_name",
        runbooks=("TeddyTrainingFailed", "TeddyTrainingDiverged"),
        width=8,
    )


def _progress() -> Panel:
    return stat(
        "Done",
        "Updates made, of those planned. A run may end sooner, when it no longer improves.",
        Query(expression=f"run:teddy_training_progress:ratio{{{RUN}}}", legend=PER_RUN),
        scale=Scale(unit="percentunit", decimals=0, most=1, nothing="no run"),
    )


def _best() -> Panel:
    return stat(
        "Best F1 on dev",
        "Of labelled data that the run does not train on.",
        Query(expression=_of("best_dev_f1"), legend=PER_RUN),
        scale=Scale(unit="percentunit", decimals=1, most=1, nothing="not evaluated yet"),
    )


def _silence() -> Panel:
    return stat(
        "Last sign of life",
        "How long ago running jobs last said anything. One that is silent hangs, or is gone without a word.",
        Query(
            expression=f"time() - {_of('updated_timestamp_seconds')} and {RUNNING}", legend=PER_RUN
        ),
        scale=Scale(
            unit="s", decimals=0, steps=((300, ORANGE), (900, RED)), nothing="nothing runs"
        ),
        runbooks=("TeddyTrainingStalled",),
    )


def _unsaved() -> Panel:
    return stat(
        "Last checkpoint",
        "How long ago running jobs last wrote one: this much work would be lost with the machine.",
        Query(
            expression=f"time() - {_of('checkpoint_timestamp_seconds')} and {RUNNING}",
            legend=PER_RUN,
        ),
        scale=Scale(
            unit="s", decimals=0, steps=((3600, ORANGE), (4 * 3600, RED)), nothing="nothing runs"
        ),
        runbooks=("TeddyTrainingStalled",),
    )


def _loss() -> Panel:
    return graph(
        "Loss",
        "Of the batches trained on, smoothed, and on dev. Training that falls while dev rises learns by heart.",
        Query(expression=_of("loss"), legend="{{run}}, training"),
        Query(expression=_of("dev_loss"), legend="{{run}}, dev"),
        scale=Scale(least=None),
        logarithmic=True,
        runbooks=("TeddyTrainingDiverged",),
    )


def _dev() -> Panel:
    return graph(
        "F1, precision and recall on dev",
        "At each evaluation.",
        Query(expression=_of("dev_f1"), legend="{{run}}, F1"),
        Query(expression=_of("dev_precision"), legend="{{run}}, precision"),
        Query(expression=_of("dev_recall"), legend="{{run}}, recall"),
        scale=Scale(unit="percentunit", decimals=1, least=None, most=1),
    )


def _gradient() -> Panel:
    return graph(
        "Gradient norm",
        "Before it is clipped. Leaps come before a run that diverges.",
        Query(expression=_of("gradient_norm"), legend=PER_RUN),
        scale=Scale(least=None),
        logarithmic=True,
    )


def _perplexity() -> Panel:
    return graph(
        "Perplexity of pre-training",
        "On held-out text: among how many pieces, all alike, it would have to guess. Lower is better.",
        Query(expression=_of("perplexity"), legend=PER_RUN),
        scale=Scale(least=None, nothing="no pre-training"),
        logarithmic=True,
    )


def _speed() -> Panel:
    return graph(
        "Words a second",
        "That running jobs train on, without evaluations and checkpoints.",
        Query(expression=f"{_of('words_per_second')} and {RUNNING}", legend=PER_RUN),
        scale=Scale(nothing="nothing runs"),
    )


def _memory() -> Panel:
    return graph(
        "Memory of the jobs",
        "Resident.",
        Query(expression=_of("resident_bytes"), legend=PER_RUN),
        scale=Scale(unit="bytes"),
    )


def _states() -> Panel:
    return timeline(
        "States over time",
        "A band for each run.",
        Query(expression=_coded_state(), legend=PER_RUN),
        scale=_state_scale(),
    )

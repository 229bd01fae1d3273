"""The dashboard of the model's quality: is the text still what it was made for, and are its answers still right."""

from deploy.monitoring.dashboards.board import Board, Choice, Row
from deploy.monitoring.dashboards.panels import (
    GREEN,
    ORANGE,
    RED,
    Panel,
    Query,
    Scale,
    bars,
    graph,
    stat,
)
from deploy.monitoring.dashboards.service_board import RELOADS

DRIFTING, DRIFTED = 0.1, 0.25
"""Population stability indices, as they are usually read: below the first nothing has changed,
above the other much."""
MODEL = 'model=~"$model"'
NAME = 'name=~"$model"'


def quality_board() -> Board:
    """What the model makes of live texts, with corrections and without."""
    return Board(
        uid="teddy-quality",
        title="Teddy: model quality",
        description="Whether the model is still good: without labels by drift, with labels by corrections.",
        rows=(
            Row(5, (_served(), _drift_now(), _f1(), _score_now(), _truncated())),
            Row(8, (_drift(), _labels())),
            Row(6, (_entities(), _scores())),
            Row(6, (_precision(), _recall(), _corrections())),
        ),
        choices=(Choice(name="model", title="Model", metric="teddy_model_info", label="name"),),
        marks=(RELOADS,),
        since="now-24h",
        refresh="1m",
    )


def _served() -> Panel:
    return stat(
        "Served",
        "Name, version and precision of each model that answers.",
        Query(
            expression=f"max by (name, version, precision) (teddy_model_info{{{NAME}}}) == 1",
            legend="{{name}} {{version}} {{precision}}",
        ),
        scale=Scale(unit="none"),
        text="name",
        runbooks=("TeddyModelReloadFailed",),
        width=6,
    )


def _drift_now() -> Panel:
    return stat(
        "Drift",
        "How far live texts are from those that the model was made for: the worst population stability index of all "
        "features but case and sentence_length, which also show that texts are of one kind. Below 0.1 they are alike, "
        "above 0.25 they are others.",
        Query(
            expression=f"max by (model) (job_model:teddy_drift_psi:max{{{MODEL}}})",
            legend="{{model}}",
        ),
        scale=Scale(
            decimals=2, steps=((DRIFTING, ORANGE), (DRIFTED, RED)), nothing="too few texts"
        ),
        runbooks=("TeddyDrift",),
        width=4,
    )


def _f1() -> Panel:
    return stat(
        "F1: corrections, and dev data",
        "Of the newest corrected texts, and as measured when the model was made. Corrected texts are seldom a fair "
        "sample: compare each with its own past first.",
        Query(
            expression=f"min by (model) (teddy_feedback_f1{{{MODEL}}})",
            legend="{{model}}, corrections",
        ),
        Query(
            expression=f"min by (name) (teddy_model_dev_f1{{{NAME}}})", legend="{{name}}, dev data"
        ),
        scale=Scale(unit="percentunit", decimals=1, most=1, nothing="no corrections"),
        text="value_and_name",
        runbooks=("TeddyFeedbackWorse",),
        width=6,
    )


def _score_now() -> Panel:
    return stat(
        "Mean score",
        "How sure the model is of what it finds, in the last hour. Scores are calibrated: of entities with 0.9, nine "
        "in ten are right, as long as texts are of the kind that it was made for.",
        Query(
            expression=f"avg by (model) (job_model:teddy_entity_score:mean_rate1h{{{MODEL}}})",
            legend="{{model}}",
        ),
        scale=Scale(unit="percentunit", decimals=0, most=1, nothing="no entities"),
        width=4,
    )


def _truncated() -> Panel:
    return stat(
        "Words without a tag",
        "Words of texts that were cut off. No text is ever cut: this must be 0.",
        Query(expression=f"sum(teddy_truncated_words_total{{{MODEL}}})"),
        scale=Scale(unit="none", steps=((1, RED),)),
        runbooks=("TeddyTruncation",),
    )


def _drift() -> Panel:
    return graph(
        "Drift of each feature",
        "Population stability index of the newest texts against the reference in the model file. From the lower line "
        "on look at the texts, from the upper one on do not trust the answers. Absent while too few texts were seen.",
        Query(
            expression=f"job_model_feature:teddy_drift_psi:max{{{MODEL}}}",
            legend="{{model}}: {{feature}}",
        ),
        scale=Scale(
            decimals=2, steps=((DRIFTING, ORANGE), (DRIFTED, RED)), nothing="too few texts"
        ),
        runbooks=("TeddyDrift",),
        width=14,
    )


def _labels() -> Panel:
    def share(metric: str) -> str:
        return f'max by (bin) ({metric}{{{MODEL}, feature="label"}})'

    return bars(
        "What entities are, now and in the reference",
        "Share of each label among the entities of the newest texts, beside its share in the model's reference.",
        Query(expression=share("teddy_drift_share"), legend="{{bin}}, now"),
        Query(expression=share("teddy_drift_reference_share"), legend="{{bin}}, reference"),
        scale=Scale(unit="percentunit", decimals=1, nothing="too few texts"),
    )


def _entities() -> Panel:
    return graph(
        "Entities per 1,000 words",
        "By label, mean of an hour. A label that vanishes or swells is the first sign of other texts or a bad model.",
        Query(
            expression=f"1000 * avg by (model, label) (job_model_label:teddy_entities:per_word_rate1h{{{MODEL}}})",
            legend="{{model}}: {{label}}",
        ),
        scale=Scale(decimals=1),
    )


def _scores() -> Panel:
    unsure = (
        f'sum by (model) (rate(teddy_entity_score_bucket{{{MODEL}, le="0.5"}}[1h]))'
        f" / (sum by (model) (rate(teddy_entity_score_count{{{MODEL}}}[1h])) > 0)"
    )
    return graph(
        "Entities that the model is unsure of",
        "Share of the entities with a score of at most 0.5, mean of an hour.",
        Query(expression=unsure, legend="{{model}}"),
        scale=Scale(unit="percentunit", decimals=1, nothing="no entities"),
    )


def _precision() -> Panel:
    return bars(
        "Precision, of corrections",
        "Of the entities found, how many were right, in the newest corrected texts.",
        Query(
            expression=f"min by (label) (teddy_feedback_precision{{{MODEL}}})", legend="{{label}}"
        ),
        scale=_of_corrections(),
    )


def _recall() -> Panel:
    return bars(
        "Recall, of corrections",
        "Of the entities that people marked, how many were found, in the newest corrected texts.",
        Query(expression=f"min by (label) (teddy_feedback_recall{{{MODEL}}})", legend="{{label}}"),
        scale=_of_corrections(),
    )


def _of_corrections() -> Scale:
    return Scale(
        unit="percentunit",
        decimals=0,
        most=1,
        lowest=RED,
        steps=((0.5, ORANGE), (0.8, GREEN)),
        nothing="no corrections",
    )


def _corrections() -> Panel:
    return graph(
        "Entities of corrected texts",
        "Since the service was started, by what the correction said of them. Spurious: found and wrong.",
        Query(
            expression=f"sum by (outcome) (teddy_feedback_entities_total{{{MODEL}}})",
            legend="{{outcome}}",
        ),
        scale=Scale(nothing="no corrections"),
        colours={"correct": GREEN, "spurious": RED, "missed": ORANGE},
        stacked=True,
    )

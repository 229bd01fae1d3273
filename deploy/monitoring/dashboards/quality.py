"""The dashboard of the model's quality: drift of the texts, and how right the answers are."""

from deploy.monitoring.dashboards.panels import (
    GREEN,
    ORANGE,
    RED,
    Dashboard,
    Scale,
    bars,
    graph,
    stat,
    variable,
)
from deploy.monitoring.dashboards.service import RELOADS

MODEL = '{model=~"$model"}'
NAME = '{name=~"$model"}'
DRIFT_SCALE = Scale(decimals=2, steps=((0.1, ORANGE), (0.25, RED)), nothing="too few texts")
"""Population stability indices as they are usually read: below 0.1 alike, above 0.25 others."""
CORRECTIONS_SCALE = Scale(
    unit="percentunit",
    decimals=0,
    most=1,
    lowest=RED,
    steps=((0.5, ORANGE), (0.8, GREEN)),
    nothing="no corrections",
)
UNSURE = (
    'sum by (model) (rate(teddy_entity_score_bucket{model=~"$model", le="0.5"}[1h]))'
    f" / (sum by (model) (rate(teddy_entity_score_count{MODEL}[1h])) > 0)"
)


def _share(metric: str) -> str:
    return f'max by (bin) ({metric}{{model=~"$model", feature="label"}})'


SERVED = stat(
    "Served",
    "Name, version and precision of each model that answers.",
    {
        "{{name}} {{version}} {{precision}}": "max by (name, version, precision) "
        f"(teddy_model_info{NAME}) == 1"
    },
    Scale(unit="none"),
    text="name",
    runbooks=("TeddyModelReloadFailed",),
    width=6,
)
DRIFT_NOW = stat(
    "Drift",
    "How far live texts are from those that the model was made for: the worst population stability "
    "index of all features but case and sentence_length, which also show that texts are of one "
    "kind. Below 0.1 they are alike, above 0.25 they are others.",
    {"{{model}}": f"max by (model) (job_model:teddy_drift_psi:max{MODEL})"},
    DRIFT_SCALE,
    runbooks=("TeddyDrift",),
    width=4,
)
F1 = stat(
    "F1: corrections, and dev data",
    "Of the newest corrected texts, and as measured when the model was made. Corrected texts are "
    "seldom a fair sample: compare each with its own past first.",
    {
        "{{model}}, corrections": f"min by (model) (teddy_feedback_f1{MODEL})",
        "{{name}}, dev data": f"min by (name) (teddy_model_dev_f1{NAME})",
    },
    Scale(unit="percentunit", decimals=1, most=1, nothing="no corrections"),
    text="value_and_name",
    runbooks=("TeddyFeedbackWorse",),
    width=6,
)
SCORE = stat(
    "Mean score",
    "How sure the model is of what it finds, in the last hour. Scores are calibrated: of entities "
    "with 0.9, nine in ten are right, as long as texts are of the kind that it was made for.",
    {"{{model}}": f"avg by (model) (job_model:teddy_entity_score:mean_rate1h{MODEL})"},
    Scale(unit="percentunit", decimals=0, most=1, nothing="no entities"),
    width=4,
)
TRUNCATED = stat(
    "Words without a tag",
    "Words of texts that were cut off. No text is ever cut: this must be 0.",
    {"": f"sum(teddy_truncated_words_total{MODEL})"},
    Scale(unit="none", steps=((1, RED),)),
    runbooks=("TeddyTruncation",),
)
DRIFT = graph(
    "Drift of each feature",
    "Population stability index of the newest texts against the reference in the model file. "
    "Above the lower line look at the texts, above the upper one do not trust the answers. "
    "Absent while too few texts were seen.",
    {"{{model}}: {{feature}}": f"job_model_feature:teddy_drift_psi:max{MODEL}"},
    DRIFT_SCALE,
    runbooks=("TeddyDrift",),
    width=14,
)
LABELS = bars(
    "What entities are, now and in the reference",
    "Share of each label among the entities of the newest texts, beside its share in the model's "
    "reference.",
    {
        "{{bin}}, now": _share("teddy_drift_share"),
        "{{bin}}, reference": _share("teddy_drift_reference_share"),
    },
    Scale(unit="percentunit", decimals=1, nothing="too few texts"),
)
ENTITIES = graph(
    "Entities per 1,000 words",
    "By label, mean of an hour. A label that vanishes or swells is the first sign of other texts "
    "or a bad model.",
    {
        "{{model}}: {{label}}": "1000 * avg by (model, label) "
        f"(job_model_label:teddy_entities:per_word_rate1h{MODEL})"
    },
    Scale(decimals=1),
)
UNSURE_ENTITIES = graph(
    "Entities that the model is unsure of",
    "Share of the entities with a score of at most 0.5, mean of an hour.",
    {"{{model}}": UNSURE},
    Scale(unit="percentunit", decimals=1, nothing="no entities"),
)
PRECISION = bars(
    "Precision, of corrections",
    "Of the entities found, how many were right, in the newest corrected texts.",
    {"{{label}}": f"min by (label) (teddy_feedback_precision{MODEL})"},
    CORRECTIONS_SCALE,
)
RECALL = bars(
    "Recall, of corrections",
    "Of the entities that people marked, how many were found, in the newest corrected texts.",
    {"{{label}}": f"min by (label) (teddy_feedback_recall{MODEL})"},
    CORRECTIONS_SCALE,
)
CORRECTIONS = graph(
    "Entities of corrected texts",
    "Since the service was started, by what the correction said of them. "
    "Spurious: found and wrong.",
    {"{{outcome}}": f"sum by (outcome) (teddy_feedback_entities_total{MODEL})"},
    Scale(nothing="no corrections"),
    colours={"correct": GREEN, "spurious": RED, "missed": ORANGE},
    stacked=True,
)

QUALITY = Dashboard(
    uid="teddy-quality",
    title="Teddy: model quality",
    about="Whether the model is still good: without labels by drift, with labels by corrections.",
    rows=(
        (5, (SERVED, DRIFT_NOW, F1, SCORE, TRUNCATED)),
        (8, (DRIFT, LABELS)),
        (6, (ENTITIES, UNSURE_ENTITIES)),
        (6, (PRECISION, RECALL, CORRECTIONS)),
    ),
    variables=(variable("model", "Model", "teddy_model_info, name"),),
    marks=(RELOADS,),
    since="now-24h",
    refresh="1m",
)

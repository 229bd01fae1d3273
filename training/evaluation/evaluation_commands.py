"""The commands `teddy evaluate` and `teddy compare`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, BadParameter, Option

from teddy.model.commands import PrecisionOption, use_one_thread
from teddy.training.data.options import (
    AnnotatesOption,
    DataArgument,
    DataDirectory,
    DataOptions,
    EncodingOption,
    FormatOption,
    MapOption,
    SchemeOption,
    TagOption,
    TokenOption,
    corpora_of_recipe,
)

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.training.data.align import Sentence
    from teddy.training.data.corpora import Corpus
    from teddy.training.evaluation.bootstrap import Intervals
    from teddy.training.evaluation.evaluate import Evaluation
    from teddy.training.evaluation.recall import RecallCurve
    from teddy.training.evaluation.robustness import Robustness
    from teddy.training.evaluation.rule_effects import RuleEffects


_Model = Annotated[Path, Argument(metavar="MODEL", help="A model file.", show_default=False)]
_Report = Annotated[
    Path | None,
    Option(metavar="DIR", help="Write report.html, report.md, report.json and pictures there."),
]
_TrainedOn = Annotated[
    Path | None,
    Option(
        metavar="RECIPE", help="Tell entities seen in this recipe's training data from unseen ones."
    ),
]
_Robustness = Annotated[
    bool,
    Option("--robustness", help="Measure again in one case, without punctuation, with typos, ..."),
]
_Recall = Annotated[
    float | None,
    Option(
        metavar="R",
        min=0.0,
        max=1.0,
        help="Measure along the threshold too, and choose the largest that covers this share of "
        "each label's entities, such as 0.99.",
        show_default=False,
    ),
]
_Preset = Annotated[
    Path | None,
    Option(metavar="FILE", help="With --recall, write the thresholds for `redact --thresholds`."),
]
_Rules = Annotated[
    Path | None,
    Option("--rules", metavar="FILE", help="Measure with these rules, and what each of them does."),
]
_Json = Annotated[bool, Option("--json", help="Print everything, as JSON.")]

_First = Annotated[Path, Argument(metavar="A", help="A model file: the old.", show_default=False)]
_Second = Annotated[Path, Argument(metavar="B", help="A model file: the new.", show_default=False)]
_CompareReport = Annotated[
    Path | None, Option(metavar="DIR", help="Write compare.html and compare.json there.")
]
_Changes = Annotated[
    int,
    Option(
        "--changes", metavar="N", min=0, help="Show so many of what got better, and as many worse."
    ),
]
_Draws = Annotated[
    int, Option("--draws", metavar="N", min=100, help="The number of draws of the bootstrap.")
]
_Seed = Annotated[
    int, Option(min=0, help="The seed of the bootstrap; the same one gives the same result.")
]
_Speed = Annotated[bool, Option("--speed", help="Measure the words per second of both, in turns.")]


def evaluate(
    model_file: _Model,
    source: DataArgument,
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    mappings: MapOption = None,
    annotates: AnnotatesOption = None,
    report: _Report = None,
    trained_on: _TrainedOn = None,
    robustness: _Robustness = False,
    recall: _Recall = None,
    preset: _Preset = None,
    rules: _Rules = None,
    precision: PrecisionOption = "auto",
    as_json: _Json = False,
) -> None:
    """Measure a model on annotated data.

    DATA is a file (columns, .jsonl, CoNLL-U, .csv, Re-DocRED's .json, also packed as .xz .gz .bz2),
    or a recipe, for its dev data. An entity is right when its start, end and label are right.

    Examples:
      teddy evaluate runs/mine/mine.teddy dev.conll
      teddy evaluate mine.teddy news.csv --tag Tag --map geo=LOC --map tim=O --annotates PER,LOC
      teddy evaluate mine.teddy test.conll --trained-on mine.toml --data corpora --report again
      teddy evaluate runs/mine/mine.teddy dev.conll --robustness
      teddy evaluate mine.teddy dev.conll --recall 0.99 --preset thresholds.json
      teddy evaluate runs/mine/mine.teddy dev.conll --rules rules.toml
    """
    use_one_thread()
    if preset is not None and recall is None:
        raise BadParameter("goes with --recall", param_hint="--preset")
    options = DataOptions.of(locals())
    from teddy.model.predictor import load
    from teddy.training.evaluation import measurements
    from teddy.training.evaluation.rule_effects import measure_rules
    from teddy.training.report.writing import score_intervals_of

    predictor = load(model_file, precision=precision, rules=rules)
    labels = predictor.labels
    corpora = options.corpora(labels, predictor.tokeniser)
    seen = corpora
    if trained_on is not None:
        seen = corpora_of_recipe(trained_on, data, predictor.tokeniser)
    read = measurements.dev_sentences(corpora), measurements.annotated_labels(corpora)
    effects = measure_rules(predictor, *read) if rules else None
    ruled = effects.predict() if effects else None
    evaluation = measurements.evaluate_dev(
        predictor.tagger, corpora, trained_on=seen, labels=labels, predict=ruled
    )
    perturbed = _measure_robustness(predictor, *read) if robustness else None
    curve = _measure_recall(predictor, *read, recall, preset) if recall is not None else None
    if report is not None:
        title = f"{model_file.name} on {source.name}"
        _write_report(evaluation, perturbed, curve, predictor, corpora, report, title)
    _print(evaluation, score_intervals_of(evaluation), perturbed, curve, effects, as_json)


def _measure_robustness(
    predictor: "Predictor", sentences: "Sequence[Sentence]", annotated: "dict[str, frozenset[str]]"
) -> "Robustness":
    """Measure the model again, without rules, on changed sentences."""
    from teddy.training.evaluation.measurements import prediction
    from teddy.training.evaluation.robustness import measure_robustness

    predict, labels = prediction(predictor.tagger), predictor.manifest.labels
    return measure_robustness(predict, sentences, annotated, labels=labels)


def _measure_recall(
    predictor: "Predictor",
    sentences: "Sequence[Sentence]",
    annotated: "dict[str, frozenset[str]]",
    recall: float,
    preset: Path | None,
) -> "RecallCurve":
    """Measure along the threshold, and write the thresholds that reach this recall."""
    from teddy.training.evaluation.recall import measure_recall

    curve = measure_recall(predictor.tagger, sentences, annotated, recall)
    if preset is not None:
        curve.write_preset(preset)
    return curve


def _write_report(
    evaluation: "Evaluation",
    perturbed: "Robustness | None",
    curve: "RecallCurve | None",
    predictor: "Predictor",
    corpora: "Sequence[Corpus]",
    directory: Path,
    title: str,
) -> None:
    from teddy.training.report.background import Background, ModelFacts, data_summary
    from teddy.training.report.machine import this_machine
    from teddy.training.report.writing import write_report

    background = Background(
        data=data_summary(corpora, ["dev"]),
        model=ModelFacts.of(predictor.manifest),
        machine=this_machine(),
        precision=predictor.precision,
    )
    write_report(
        evaluation,
        directory,
        title=title,
        robustness=perturbed,
        recall=curve,
        background=background,
    )


def _print(
    evaluation: "Evaluation",
    intervals: "Intervals",
    perturbed: "Robustness | None",
    curve: "RecallCurve | None",
    effects: "RuleEffects | None",
    as_json: bool,
) -> None:
    if as_json:
        fields = evaluation.as_dict() | {"intervals": intervals.as_dict()}
        fields |= {"robustness": perturbed.as_dict()} if perturbed else {}
        fields |= {"recall": curve.as_dict()} if curve else {}
        fields |= {"rules": effects.as_dict()} if effects else {}
        print(json.dumps(fields, ensure_ascii=False))
    else:
        print(
            *_summary(evaluation, intervals),
            *(["", *perturbed.table()] if perturbed else []),
            *(["", *curve.table()] if curve else []),
            *(["", *effects.table()] if effects else []),
            sep="\n",
        )


def _summary(evaluation: "Evaluation", intervals: "Intervals") -> list[str]:
    """Return the main scores as a table of plain text."""
    scores, conlleval, f1 = evaluation.scores, evaluation.conlleval, intervals.micro.f1
    width = max(len("all"), *map(len, scores.by_label))
    rows = [*scores.by_label.items(), ("all", scores.micro)]
    return [
        f"{'':{width}}  precision  recall      F1  annotated  predicted  correct",
        *(
            f"{name:{width}}  {counts.precision:9.2%} {counts.recall:7.2%} {counts.f1:7.2%}"
            f"  {counts.gold:9,}  {counts.predicted:9,}  {counts.correct:7,}"
            for name, counts in rows
        ),
        "",
        f"{evaluation.n_sentences:,} sentences, {evaluation.n_words:,} words",
        f"F1 of other samples of such sentences: {f1.low:.2%} to {f1.high:.2%} (95 %, bootstrap)",
        f"mean of the labels: F1 {scores.macro.f1:.2%}",
        f"by the rules of conlleval: F1 {conlleval.spans.micro.f1:.2%},"
        f" accuracy of the words {conlleval.accuracy:.2%}",
    ]


def compare(
    first: _First,
    second: _Second,
    source: DataArgument,
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    mappings: MapOption = None,
    annotates: AnnotatesOption = None,
    report: _CompareReport = None,
    most: _Changes = 10,
    n_draws: _Draws = 10_000,
    seed: _Seed = 1,
    speed: _Speed = False,
    precision: PrecisionOption = "auto",
    as_json: _Json = False,
) -> None:
    """Compare models: whether B is better than A, how sure that is, and what changed.

    DATA is a file or a recipe, as in `teddy evaluate`. Only the labels count that both models have
    and DATA annotates. The difference in F1 is tested by the paired bootstrap over sentences and by
    approximate randomisation.

    Examples:
      teddy compare runs/old/mine.teddy runs/new/mine.teddy mine.toml --data corpora
      teddy compare old.teddy new.teddy dev.conll --report runs/new/compare
      teddy compare --json old.teddy new.teddy dev.conll | jq .overall.p_bootstrap
      teddy compare old.teddy new.teddy dev.conll --speed --changes 0
    """
    use_one_thread()
    options = DataOptions.of(locals())
    from teddy.training.evaluation.model_comparison import compare_models

    models = compare_models(
        (first, second),
        options.corpora,
        precision=precision,
        n_draws=n_draws,
        seed=seed,
        most=most,
        speed=speed,
    )
    if report is not None:
        from teddy.training.report.html import write_comparison

        write_comparison(models, report, f"{first.name} and {second.name} on {source.name}")
    print(
        json.dumps(models.as_dict(), ensure_ascii=False) if as_json else "\n".join(models.lines())
    )

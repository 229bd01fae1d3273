"""The commands `teddy train`, `evaluate`, `export` and `check`. What they need is imported when they run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from model.commands import PrecisionOption, use_one_thread
from training.job_options import MetricsFileOption, MetricsPortOption, PushgatewayOption, shown

if TYPE_CHECKING:
    from model.predictor import Predictor
    from training.corpora import Corpus
    from training.evaluate import Evaluation, Predict
    from training.named_data import NamedFile
    from training.robustness import Robustness

DataDirectory = Annotated[Path, typer.Option("--data", metavar="DIR", help="What a recipe's files are relative to.")]
RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A .toml file.", show_default=False)]
OutputOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the run goes.  [default: runs/NAME]")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run that is in --output.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Put over a value of the recipe; may be repeated."),
]
FormatChoice = Literal["auto", "conll", "jsonl", "conllu", "csv", "docred"]
FormatOption = Annotated[
    FormatChoice, typer.Option("--format", help="What a file is; auto looks at its name and its rows.")
]
TokenOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Where the token is: a number, in csv also a name.  [default: guessed]"),
]
TagOption = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Where the tag is; -1 is the last column.  [default: guessed]")
]
SchemeChoice = Literal["io", "iob1", "bio", "bioes", "bmes"]
SchemeOption = Annotated[SchemeChoice | None, typer.Option(help="How tags write entities.  [default: guessed]")]
EncodingOption = Annotated[str, typer.Option(metavar="NAME", help="Of the file's characters.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")]


def train(
    recipe_file: RecipeArgument,
    data: DataDirectory = Path(),
    output: OutputOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    metrics_file: MetricsFileOption = None,
    metrics_port: MetricsPortOption = None,
    pushgateway: PushgatewayOption = None,
) -> None:
    """Train a model as a recipe says, and write its model file.

    A run leaves its resolved recipe, metrics, curves, checkpoints, an evaluation on dev and NAME.teddy in --output. At
    the end, the path of the model file is printed on standard output.

    Examples:
      teddy train training/recipes/conll2003.toml --data corpora
      teddy train mine.toml --set training.epochs=3 --set network.cell=gru --output runs/try
      teddy train mine.toml --resume
      teddy train mine.toml --metrics-file /var/lib/prometheus/node-exporter/mine.prom
    """
    from training.config import load_recipe
    from training.job import Job

    recipe = load_recipe(recipe_file, overrides or ())
    output = output or Path("runs") / recipe.name
    job = Job(recipe.name)
    with shown(job, metrics_file, metrics_port, pushgateway):
        from training.run import train as run_training  # takes seconds, which a mistake need not wait for

        model_file = run_training(recipe, data, output, resume=resume, job=job)
    print(model_file)


def evaluate(
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.", show_default=False)],
    source: Annotated[Path, typer.Argument(metavar="DATA", help="A data file or a recipe.", show_default=False)],
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    mappings: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FROM=TO", help="Read a label as another, as O or as ? (unknown); repeatable."),
    ] = None,
    annotates: Annotated[
        str | None,
        typer.Option(metavar="LABELS", help="Labels that DATA marks, such as PER,LOC; others are not counted."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.md, report.json and pictures there.")
    ] = None,
    trained_on: Annotated[
        Path | None,
        typer.Option(metavar="RECIPE", help="Tell entities seen in this recipe's training data from unseen ones."),
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Measure again in one case, without punctuation, with typos, ...")
    ] = False,
    precision: PrecisionOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a model on data whose entities are known.

    DATA is a file (columns, .jsonl, CoNLL-U, .csv, Re-DocRED's .json, also packed as .xz .gz .bz2), or a recipe, whose
    dev data are then used. An entity counts as found when its start, end and label are all right.

    Examples:
      teddy evaluate runs/mine/mine.teddy dev.conll
      teddy evaluate runs/mine/mine.teddy news.csv --tag Tag --map geo=LOC --map tim=O --annotates PER,LOC
      teddy evaluate runs/mine/mine.teddy mine.toml --data corpora --report runs/mine/again
      teddy evaluate runs/mine/mine.teddy test.conll --trained-on mine.toml --data corpora --report runs/mine/test
      teddy evaluate runs/mine/mine.teddy dev.conll --robustness
    """
    use_one_thread()
    import model

    named = (
        None
        if _is_recipe(source)
        else _named_file(source, form, token, tag, scheme, encoding, mappings or (), annotates)
    )
    predictor = model.load(model_file, precision=precision)
    corpora = _corpora_of_recipe(source, data) if named is None else [named.load(predictor.manifest.labels)]
    evaluation = _measure(predictor, corpora, corpora if trained_on is None else _corpora_of_recipe(trained_on, data))
    perturbed = _measure_robustness(predictor, corpora) if robustness else None
    if report is not None:
        from training.report import write_report

        write_report(evaluation, report, title=f"{model_file.name} on {source.name}", robustness=perturbed)
    if as_json:
        fields = evaluation.as_dict() | ({"robustness": perturbed.as_dict()} if perturbed else {})
        print(json.dumps(fields, ensure_ascii=False))
    else:
        print(*_summary(evaluation), *(["", *perturbed.table()] if perturbed else []), sep="\n")


def export(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A .checkpoint of a run, or a model file.", show_default=False)
    ],
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="The file to write.", show_default=False)],
    form: Annotated[
        Literal["auto", "torchscript", "onnx"],
        typer.Option("--format", help="Of MODEL; auto is onnx where its name ends in .onnx, else torchscript."),
    ] = "auto",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What the run's files are relative to; only for a run that has not ended."),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(metavar="RECIPE", help="Take the [card] table of this recipe for the model card."),
    ] = None,
) -> None:
    """Write the model file of a checkpoint, or a model as ONNX.

    A run that ended has written its model file already, with its best checkpoint. ONNX is for ONNX Runtime, here or in
    another language: it wants the extra teddy[onnx], and is compared with TorchScript before it is written.

    Examples:
      teddy export runs/mine/best.checkpoint mine.teddy
      teddy export runs/mine/last.checkpoint early.teddy --data corpora
      teddy export runs/mine/best.checkpoint mine.teddy --card mine.toml   # with what is known of it by now
      teddy export mine.teddy mine.onnx
    """
    of_checkpoint = source.suffix == ".checkpoint"
    to_onnx = form == "onnx" or (form == "auto" and model_file.suffix == ".onnx")
    if not of_checkpoint and (data or card):
        raise typer.BadParameter("goes with a checkpoint", param_hint="--data" if data else "--card")
    if source.suffix in (".teddy", ".onnx") and not to_onnx:
        raise typer.BadParameter("a model file can only be exported as ONNX: name it .onnx", param_hint="MODEL")
    if to_onnx:
        use_one_thread()

    from training.config import load_recipe
    from training.publish import export as write_model_file
    from training.publish_onnx import export_onnx

    write = export_onnx if to_onnx else write_model_file
    write(source, model_file, data, None if card is None else load_recipe(card).card)


def check(
    source: Annotated[Path, typer.Argument(metavar="DATA", help="A data file or a recipe.", show_default=False)],
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    as_json: JsonOption = False,
) -> None:
    """Look for mistakes in data before they cost a night.

    Counts what is there and lists what looks wrong, the most suspicious first: illegal tags, entities that no words can
    express, the same words labelled in two ways, dev sentences that are also in train, and more. The exit code is 2
    when a file cannot be read to its end.

    Examples:
      teddy check mine.toml --data corpora
      teddy check train.conll --scheme iob1
      teddy check --json notes.jsonl | jq .counts
    """
    from training.check import check_file, check_recipe

    if _is_recipe(source):
        from training.config import load_recipe

        report = check_recipe(load_recipe(source), data, path=source)
    else:
        report = check_file(source, _named_file(source, form, token, tag, scheme, encoding).as_corpus(()))
    print(json.dumps(report.as_dict(), ensure_ascii=False) if as_json else report)
    if not report.is_readable:
        raise typer.Exit(2)


def _is_recipe(source: Path) -> bool:
    return source.suffix.lower() == ".toml"


def _named_file(
    path: Path,
    form: FormatChoice,
    token: str | None,
    tag: str | None,
    scheme: str | None,
    encoding: str,
    mappings: Sequence[str] = (),
    annotates: str | None = None,
) -> "NamedFile":
    from model.spans import Scheme
    from training.named_data import NamedFile

    return NamedFile(
        path=path,
        form=None if form == "auto" else form,
        token=_column(token),
        tag=_column(tag),
        scheme=None if scheme is None else Scheme(scheme),
        encoding=encoding,
        label_map=dict(_mapping(each) for each in mappings),
        annotates=None if annotates is None else tuple(annotates.split(",")),
    )


def _column(text: str | None) -> int | str | None:
    """Return a column's number, or else its name."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text


def _mapping(text: str) -> tuple[str, str]:
    label, equals, target = text.partition("=")
    if not (label and equals and target):
        raise typer.BadParameter(f"{text!r} is not FROM=TO", param_hint="--map")
    return label, target


def _corpora_of_recipe(recipe_file: Path, data: Path) -> "list[Corpus]":
    from training.config import load_recipe
    from training.corpora import load_corpora

    return load_corpora(load_recipe(recipe_file), data, on_misaligned=lambda _: None)


def _measure(predictor: "Predictor", corpora: "Sequence[Corpus]", trained_on: "Sequence[Corpus]") -> "Evaluation":
    """Evaluate a loaded model, in the precision that it serves in, on the dev data of corpora.

    Entities of the training data of `trained_on` count as seen.
    """
    from training.evaluate import evaluate, surfaces

    train = [sentence for corpus in trained_on for sentence in corpus.train]
    return evaluate(
        _prediction(predictor),
        [sentence for corpus in corpora for sentence in corpus.dev],
        {corpus.name: corpus.annotates for corpus in corpora},
        labels=predictor.manifest.labels,
        seen=surfaces(train) if train else None,
    )


def _measure_robustness(predictor: "Predictor", corpora: "Sequence[Corpus]") -> "Robustness":
    """Measure it as `_measure` does, on the same sentences written in other ways."""
    from training.robustness import measure_robustness

    return measure_robustness(
        _prediction(predictor),
        [sentence for corpus in corpora for sentence in corpus.dev],
        {corpus.name: corpus.annotates for corpus in corpora},
        labels=predictor.manifest.labels,
    )


def _prediction(predictor: "Predictor") -> "Predict":
    from model.documents import WindowInput
    from training.evaluate import ScoredSpan

    def predict(sentences: Sequence[Sequence[str]]) -> list[list[ScoredSpan]]:
        outputs = predictor.predict([WindowInput(list(words)) for words in sentences])
        return [[*map(ScoredSpan, output.spans, output.scores)] for output in outputs]

    return predict


def _summary(evaluation: "Evaluation") -> list[str]:
    """Return the main scores as a table of plain text."""
    scores, conlleval = evaluation.scores, evaluation.conlleval
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
        f"mean of the labels: F1 {scores.macro.f1:.2%}",
        f"by the rules of conlleval: F1 {conlleval.spans.micro.f1:.2%}, accuracy of the words {conlleval.accuracy:.2%}",
    ]

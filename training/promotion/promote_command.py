"""The command `teddy promote`. What it needs is imported when it runs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teddy.model.commands import use_one_thread
from teddy.training.data.options import (
    AnnotatesOption,
    DataDirectory,
    DataOptions,
    EncodingOption,
    FormatOption,
    MapOption,
    SchemeOption,
    TagOption,
    TokenOption,
)

if TYPE_CHECKING:
    from teddy.training.data.corpora import Corpus
    from teddy.training.promotion.folder import ServedFolder
    from teddy.training.promotion.promote import Comparison, Outcome

_NOT_BETTER = 1


def promote(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A model file; with --rollback, how a version begins.  [default: with --rollback, the one before]",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="The TEDDY_MODELS_DIR of who serves it.", show_default=False
        ),
    ] = ...,  # type: ignore[assignment]
    if_better: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA", help="Only if F1 on this data file or recipe's dev data is better."
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            metavar="POINTS",
            min=0,
            help="By how many points of F1 it must be better, at the least.",
        ),
    ] = 0.0,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is served as.  [default: the model's own name]"),
    ] = None,
    keep: Annotated[
        int, typer.Option(metavar="N", min=1, help="Versions to keep besides the one served.")
    ] = 5,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Serve an earlier version again.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Show the versions that are kept.")
    ] = False,
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    mappings: MapOption = None,
    annotates: AnnotatesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Put a model where `teddy serve` finds it, if it is better; or go back to the one before.

    The model is loaded and its canary checked; DIR/NAME.teddy is then replaced in one step, and
    every server that follows DIR changes to it by itself. Earlier versions stay in DIR/versions.
    The exit code is 0 when the model is served now, 1 when it is not better and the served one
    stays.

    Examples:
      teddy promote runs/mine/mine.teddy --to models
      teddy promote runs/mine/mine.teddy --to models --if-better mine.toml --data corpora --margin 0.2
      teddy promote runs/mine/mine.teddy --to models --if-better dev.conll --annotates PER,LOC
      teddy promote --list --to models
      teddy promote --rollback --to models              # or: teddy promote --rollback 3fa9 --to models
    """
    use_one_thread()
    _check_usage(model, rollback, listing, if_better)
    from teddy.training.promotion.folder import ServedFolder

    folder = ServedFolder(to)
    if listing:
        _show_versions(folder, name, as_json)
        return
    if rollback:
        from teddy.training.promotion.promote import roll_back

        outcome = roll_back(folder, name=name, version=model, note=_note)
    else:
        options = DataOptions(
            source=if_better or Path(),
            data=data,
            form=form,
            token=token,
            tag=tag,
            scheme=scheme,
            encoding=encoding,
            mappings=mappings or (),
            annotates=annotates,
        )
        outcome = _promote(
            Path(str(model)), folder, name, options if if_better else None, margin / 100, keep
        )
    _show(outcome, as_json)
    if outcome.status == "not better":
        raise typer.Exit(_NOT_BETTER)


def _check_usage(model: str | None, rollback: bool, listing: bool, if_better: Path | None) -> None:
    if rollback and listing:
        raise typer.BadParameter("cannot stand beside --rollback", param_hint="--list")
    if model is None and not rollback and not listing:
        raise typer.BadParameter("missing: the model file to promote", param_hint="MODEL")
    if listing and model is not None:
        raise typer.BadParameter("nothing is promoted by --list", param_hint="MODEL")
    if if_better is not None and (rollback or listing):
        raise typer.BadParameter("goes with a model file to promote", param_hint="--if-better")


def _promote(
    model_file: Path,
    folder: "ServedFolder",
    name: str | None,
    options: DataOptions | None,
    margin: float,
    keep: int,
) -> "Outcome":
    from teddy.training.promotion.promote import promote as put_in_place

    comparison = None if options is None else _comparison(options, margin)
    return put_in_place(model_file, folder, name=name, comparison=comparison, keep=keep, note=_note)


def _comparison(options: DataOptions, margin: float) -> "Comparison":
    from teddy.training.promotion.promote import Comparison

    options.check()

    def read(labels: Sequence[str]) -> "Sequence[Corpus]":
        corpora = options.corpora(labels)
        if options.is_recipe or options.annotates is not None:
            return corpora
        # A file does not say what it annotates. What it never has would tell against the model that
        # has learnt it.
        return [replace(corpus, annotates=_labels_in(corpus)) for corpus in corpora]

    return Comparison(data=options.source, read=read, margin=margin)


def _labels_in(corpus: "Corpus") -> frozenset[str]:
    return frozenset(span.label for sentence in corpus.dev for span in sentence.spans)


def _note(line: str) -> None:
    typer.echo(line, err=True)


def _show(outcome: "Outcome", as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(outcome), ensure_ascii=False))
        return
    for note in outcome.notes:
        _note(note)
    scores = ""
    if outcome.f1 is not None:
        before = "" if outcome.previous_f1 is None else f", served {outcome.previous_f1:.2%}"
        scores = f" (F1 {outcome.f1:.2%}{before})"
    instead = (
        f" instead of {outcome.previous}" if outcome.previous not in (None, outcome.version) else ""
    )
    stays = outcome.status == "not better"
    print(
        f"{outcome.name} {outcome.version}: {outcome.status}{f' than {outcome.previous}' if stays else instead}{scores}"
    )


def _show_versions(folder: "ServedFolder", name: str | None, as_json: bool) -> None:
    rows = []
    for each in [name] if name else folder.names():
        served, history = folder.served(each), folder.history.of(each)
        for version in folder.versions(each):
            last = next(
                (promotion for promotion in reversed(history) if promotion.version == version), None
            )
            fields = (
                {key: value for key, value in asdict(last).items() if value is not None}
                if last
                else {}
            )
            rows.append({"name": each, "version": version, "served": version == served, **fields})
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        scored = f"  F1 {row['f1']:.2%}" if "f1" in row else ""
        action = f"  {row.get('action', '')} {row.get('time', '')}".rstrip()
        print(f"{'*' if row['served'] else ' '} {row['name']} {row['version']}{action}{scored}")

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
    from teddy.model.text.words import Tokeniser
    from teddy.training.data.corpora import Corpus
    from teddy.training.promotion.folder import ServedFolder
    from teddy.training.promotion.promote import Outcome, Requirement

_NOT_PROMOTED = 1


_Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A model file; with --rollback, the start of a version.  "
        "[default: with --rollback, the one before]",
        show_default=False,
    ),
]
_To = Annotated[
    Path,
    typer.Option(metavar="DIR", help="The TEDDY_MODELS_DIR of the service.", show_default=False),
]
_IfBetter = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA", help="Only if F1 on this data file or recipe's dev data is better."
    ),
]
_Margin = Annotated[
    float,
    typer.Option(metavar="POINTS", min=0, help="The points of F1 by which it must be better."),
]
_AtLeast = Annotated[
    float,
    typer.Option(
        metavar="POINTS",
        min=0,
        max=100,
        help="With --if-better: the least F1 of any model, the first one included.",
    ),
]
_Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The name to serve it under.  [default: the model's own]"),
]
_Keep = Annotated[
    int, typer.Option(metavar="N", min=1, help="Versions to keep besides the one served.")
]
_Rollback = Annotated[bool, typer.Option("--rollback", help="Serve an earlier version again.")]
_List = Annotated[bool, typer.Option("--list", help="Show the versions that are kept.")]
_Json = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]


def promote(
    model: _Model = None,
    to: _To = ...,  # type: ignore[assignment]
    if_better: _IfBetter = None,
    margin: _Margin = 0.0,
    at_least: _AtLeast = 0.0,
    name: _Name = None,
    keep: _Keep = 5,
    rollback: _Rollback = False,
    listing: _List = False,
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    mappings: MapOption = None,
    annotates: AnnotatesOption = None,
    as_json: _Json = False,
) -> None:
    """Put a model where `teddy serve` finds it, if it is better; or go back to an earlier one.

    The model is loaded and its canary checked; then DIR/NAME.teddy is replaced in one step, and
    every server that watches DIR changes to it. Earlier versions stay in DIR/versions. The exit
    code is 0 when the model is served now, 1 when it is not good enough and what is served stays.

    Examples:
      teddy promote runs/mine/mine.teddy --to models
      teddy promote mine.teddy --to models --if-better mine.toml --data corpora --margin 0.2
      teddy promote mine.teddy --to models --if-better mine.toml --data corpora --at-least 60
      teddy promote mine.teddy --to models --if-better dev.conll --annotates PER,LOC
      teddy promote --list --to models
      teddy promote --rollback --to models           # or: teddy promote --rollback 3fa9 --to models
    """
    use_one_thread()
    _check_usage(model, rollback, listing, if_better, at_least)
    options = DataOptions.of(locals() | {"source": if_better}) if if_better else None
    from teddy.training.promotion.folder import ServedFolder

    folder = ServedFolder(to)
    if listing:
        _show_versions(folder, name, as_json)
        return
    if rollback:
        from teddy.training.promotion.promote import roll_back

        outcome = roll_back(folder, name=name, version=model, note=_note)
    else:
        from teddy.training.promotion.promote import promote as put_in_place

        requirement = _requirement(options, margin / 100, at_least / 100) if options else None
        outcome = put_in_place(
            Path(str(model)), folder, name=name, requirement=requirement, keep=keep, note=_note
        )
    _show(outcome, as_json)
    if outcome.status in ("not better", "too low"):
        raise typer.Exit(_NOT_PROMOTED)


def _check_usage(
    model: str | None, rollback: bool, listing: bool, if_better: Path | None, at_least: float
) -> None:
    if rollback and listing:
        raise typer.BadParameter("cannot stand beside --rollback", param_hint="--list")
    if model is None and not rollback and not listing:
        raise typer.BadParameter("missing: the model file to promote", param_hint="MODEL")
    if listing and model is not None:
        raise typer.BadParameter("nothing is promoted by --list", param_hint="MODEL")
    if if_better is not None and (rollback or listing):
        raise typer.BadParameter("goes with a model file to promote", param_hint="--if-better")
    if at_least and if_better is None:
        raise typer.BadParameter("says nothing without --if-better", param_hint="--at-least")


def _requirement(options: DataOptions, margin: float, at_least: float) -> "Requirement":
    from teddy.training.promotion.promote import Requirement

    def read(labels: Sequence[str], tokeniser: "Tokeniser") -> "Sequence[Corpus]":
        corpora = options.corpora(labels, tokeniser)
        if options.is_recipe or options.annotates is not None:
            return corpora
        # A file does not say what it annotates. Labels that it never has would count against the
        # model that knows them.
        return [
            replace(
                corpus,
                annotates=frozenset(span.label for each in corpus.dev for span in each.spans),
            )
            for corpus in corpora
        ]

    return Requirement(data=options.source, read=read, margin=margin, at_least=at_least)


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
    if outcome.status == "not better":
        previous = f" than {outcome.previous}"
    elif outcome.status != "too low" and outcome.previous not in (None, outcome.version):
        previous = f" instead of {outcome.previous}"
    else:
        previous = ""
    print(f"{outcome.name} {outcome.version}: {outcome.status}{previous}{scores}")


def _show_versions(folder: "ServedFolder", name: str | None, as_json: bool) -> None:
    rows = []
    for each in [name] if name else folder.names():
        served, history = folder.served(each), folder.history.of(each)
        for version in folder.versions(each):
            row = {"name": each, "version": version, "served": version == served}
            last = next((entry for entry in reversed(history) if entry.version == version), None)
            if last:
                row |= {key: value for key, value in asdict(last).items() if value is not None}
            rows.append(row)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        scored = f"  F1 {row['f1']:.2%}" if "f1" in row else ""
        action = f"  {row.get('action', '')} {row.get('time', '')}".rstrip()
        print(f"{'*' if row['served'] else ' '} {row['name']} {row['version']}{action}{scored}")

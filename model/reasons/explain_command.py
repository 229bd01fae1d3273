"""The command `teddy explain`. What it needs is imported when it runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from teddy.model.commands import PrecisionOption, use_one_thread

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.model.reasons.explanation import ExplainedEntity, Explanation

_SHOWN = 0.005
"""Words that give less are not worth a line."""


def explain(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", show_default=False)],
    model_file: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="FILE", help="A model file.  [default: the one that ships]"
        ),
    ] = None,
    sentences: Annotated[
        Literal["document", "lines"] | None,
        typer.Option(help="How texts are cut: see teddy tag --help.", show_default=False),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the first entity of each text as a heat map of its words: FILE.svg, or "
            "FILE.png.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the HTTP service answers, a line a text.")
    ] = False,
    precision: PrecisionOption = "auto",
) -> None:
    """Say why each entity of a text was found, or why none was.

    For each word of its sentence: what the entity's probability would be without it. Also with the
    words up to the entity only, from it on only, and alone; and the three most probable readings.
    Where nothing is found, the likeliest entity is explained that was not.

    A number is what the model does without a word, not why the world is so: see docs/explain.md.

    Examples:
      teddy explain "He said, Teddy Roosevelt was a great President"
      teddy explain --json "Teddy bears are on sale" | jq .sentences[].readings
      teddy explain --picture why.svg "He said, Teddy Roosevelt spoke" "He said, Teddy bears sold"
    """
    use_one_thread()
    from teddy.model.predictor import load

    predictor = load(model_file, precision=precision)
    explained = [predictor.explain(text, sentences=sentences) for text in texts]
    if as_json:
        model = {"name": predictor.manifest.name, "version": predictor.version}
        for each in explained:
            print(json.dumps({"model": model, **each.as_dict()}, ensure_ascii=False))
        return
    shown = [
        each if each.entities else _likeliest(predictor, text, each, sentences)
        for text, each in zip(texts, explained, strict=True)
    ]
    if picture is not None:
        from teddy.model.reasons.picture import draw

        draw([(each, each.entities[0]) for each in shown if each.entities], picture)
    else:
        _print(explained, shown)


def _print(explained: "Sequence[Explanation]", shown: "Sequence[Explanation]") -> None:
    """Show a person each explanation; `explained` has entities where some were found."""
    from rich.console import Console

    console = Console(highlight=False)
    for found, each in zip(explained, shown, strict=True):
        for line in _lines(each, is_found=bool(found.entities)):
            console.print(line, soft_wrap=True)


def _likeliest(
    predictor: "Predictor",
    text: str,
    explanation: "Explanation",
    sentences: Literal["document", "lines"] | None,
) -> "Explanation":
    """Explain the first entity of the most probable reading that has one, if there is any."""
    readings = [each for sentence in explanation.sentences for each in sentence.readings]
    readings = [each for each in readings if each.entities]
    if not readings:
        return explanation
    guess = max(readings, key=lambda each: each.probability).entities[0]
    spans = [(guess.start, guess.end, guess.label)]
    return predictor.explain(text, spans=spans, sentences=sentences)


def _lines(explanation: "Explanation", *, is_found: bool) -> list[Any]:
    """Return what a person is shown of one text."""
    lines: list[Any] = []
    if not is_found:
        lines.append("Nothing is found." + (" The likeliest:" if explanation.entities else ""))
    for each in explanation.entities:
        lines += _entity_lines(explanation, each)
    for sentence in explanation.sentences:
        lines.append("readings")
        for reading in sentence.readings:
            entities = ", ".join(f"{each.text} {each.label}" for each in reading.entities)
            lines.append(f"  {reading.probability:6.1%}  {entities or 'no entity'}")
    return lines


def _entity_lines(explanation: "Explanation", explained: "ExplainedEntity") -> list[Any]:
    from rich.text import Text

    entity, source = explained.entity, getattr(explained.entity, "source", None)
    by = f"  by the rule {source}" if source else ""
    lines: list[Any] = [
        Text(f"{entity.text}  {entity.label}  {entity.score:.3f}{by}", style="bold")
    ]
    if explained.sentence is None:
        return lines
    words = explanation.sentences[explained.sentence].words
    most = max(_SHOWN, *map(abs, explained.gives))
    heat = Text("  ")
    for word, given in zip(words, explained.gives, strict=True):
        heat.append(f" {word.text} ", _style(given / most))
    lines.append(heat)
    ranked = sorted(zip(explained.gives, words, strict=True), key=lambda pair: -abs(pair[0]))
    lines += [
        f"  {given:+.3f}  {word.text}{'' if word.known else '  (known by its pieces only)'}"
        for given, word in ranked
        if abs(given) >= _SHOWN
    ]
    lines.append(
        f"  up to it only {explained.left_only or 0:.3f}   from it on only "
        f"{explained.right_only or 0:.3f}   alone {explained.alone or 0:.3f}"
    )
    return lines


def _style(part: float) -> str:
    """Return the colour of a word for -1 to 1."""
    strength = round(abs(part) ** 0.6 * 200)
    if strength < 12:
        return "default"
    red, green, blue = (0, strength, strength) if part > 0 else (strength, strength // 3, 0)
    return f"white on rgb({red},{green},{blue})"

"""How entities and models are shown to a person."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from teddy.model.file.bundle import Bundle, Manifest
    from teddy.model.text.documents import Entity

_STYLES = (
    "black on bright_cyan",
    "black on bright_yellow",
    "black on bright_green",
    "black on bright_magenta",
)
_IN_THE_CARD = ("dev_calibration", "dev_labels_by_corpus")
"""Scores that are tables of tables, which the model card has room for."""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def coloured(
    text: str, entities: "Iterable[Entity]", labels: Sequence[str], *, brackets: bool = False
) -> Text:
    """Return the text with its entities on a coloured ground, each followed by its label.

    With `brackets` they are seen without colours too: `[Oslo LOC]`.
    """
    shown = Text()
    end = 0
    for entity in entities:
        style = _STYLES[labels.index(entity.label) % len(_STYLES)]
        shown.append(text[end : entity.start])
        shown.append(f"[{entity.text}" if brackets else entity.text, style)
        shown.append(f" {entity.label}{']' if brackets else ' '}", f"bold {style}")
        end = entity.end
    return shown.append(text[end:])


def plain_line(entity: "Entity") -> str:
    """Return start, end, label, score and text with tabs between them; tabs in it are escaped.

    Where rules are in force, source and id follow.
    """
    text = entity.text.translate(_ESCAPES)
    line = f"{entity.start}\t{entity.end}\t{entity.label}\t{entity.score:.3f}\t{text}"
    if entity.source is None:
        return line
    return f"{line}\t{entity.source}\t{(entity.id or '').translate(_ESCAPES)}"


def model_fields(bundle: "Bundle") -> dict[str, object]:
    """Return all that a model file says of itself, and its size and digest, ready for JSON."""
    return {
        "name": bundle.manifest.name,
        "version": bundle.version,
        "digest": f"sha256:{bundle.digest}",
        "size_bytes": len(bundle.archive),
        **bundle.manifest.as_dict(),
    }


def model_lines(bundle: "Bundle") -> list[str]:
    """Return the main things in a model file, one to a line."""
    from teddy.model.features.lexicon import Lexicon

    manifest = bundle.manifest
    rows = [
        ("name", manifest.name),
        ("version", f"{bundle.version} (sha256:{bundle.digest})"),
        ("created", manifest.created),
        ("language", manifest.language or "not stated"),
        ("labels", ", ".join(manifest.labels)),
        ("network", describe_network(manifest)),
        ("parameters", f"{manifest.n_parameters:,}"),
        *([("lexicon", str(Lexicon(bundle.lexicon)))] if bundle.lexicon else []),
        (
            "file",
            f"{len(bundle.archive) / 1e6:.1f} MB, format {bundle.format} {manifest.format_version}",
        ),
        ("tokeniser", f"version {manifest.tokeniser_version}"),
        ("windows", f"{manifest.window_words} words, {manifest.window_overlap} of them shared"),
        ("sentences", f"by {manifest.sentences}"),
        ("canary", f"{len(manifest.canary)} texts"),
    ]
    lines = [f"{name:<11} {value}" for name, value in rows]
    lines += ["", "trained on"]
    for data in manifest.training_data:
        size = f"{data.n_sentences:,} sentences, {data.n_words:,} words; " if data.n_words else ""
        source = f"; {data.source}" if data.source else ""
        lines.append(f"  {data.name}: {size}{data.licence}{source}")
    shown = {name: value for name, value in manifest.scores.items() if name not in _IN_THE_CARD}
    return [*lines, "", "measured on dev", *(f"  {line}" for line in _tree(shown))]


def describe_network(manifest: "Manifest") -> str:
    """Return the shape of a model's network in a line."""
    network = manifest.network
    directions = "both directions" if network.bidirectional else "one direction"
    dense = (
        f", dense {' and '.join(map(str, network.dense_widths))}" if network.dense_widths else ""
    )
    recurrent = f"{network.layers} x {network.cell} of {network.hidden_width}, {directions}"
    return f"embeddings of {network.embedding_width}, {recurrent}{dense}, {network.decoder}"


def _tree(value: object, name: str = "") -> list[str]:
    """Return nested numbers as indented lines, those with precision, recall and F1 as one line."""
    if isinstance(value, dict) and {"precision", "recall", "f1"} <= value.keys():
        ratios = "   ".join(f"{key} {value[key]:7.2%}" for key in ("f1", "precision", "recall"))
        counted = f"   {value['gold']:,} annotated" if "gold" in value else ""
        return [f"{name:<20} {ratios}{counted}"]
    if isinstance(value, dict):
        inner = [line for key, each in value.items() for line in _tree(each, str(key))]
        return [name, *(f"  {line}" for line in inner)] if name else inner
    return [f"{name:<22} {value:.4f}" if isinstance(value, float) else f"{name:<22} {value}"]

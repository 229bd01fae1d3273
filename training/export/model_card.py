"""The model card (Mitchell et al. 2019) of a model file: its use and its measured scores.

Every statement comes from the manifest: what is measured from its scores, what only a person can
say from the `[card]` table of the recipe in it. A version is not among them: it is the digest of
the file that the card lies in.
"""

import json
import re
import statistics
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from teddy.model.display import describe_network
from teddy.model.file.bundle import Manifest
from teddy.training.recipe.sections import CardConfig
from teddy.training.report.markdown import (
    SCORE_HEADS,
    code,
    corpus_table,
    escape,
    markdown_table,
    percent,
    score_table,
)

_NOT_STATED = "Not stated."


def render_card(manifest: Manifest) -> str:
    """Write the card of a model as Markdown."""
    recipe = tomllib.loads(manifest.recipe)
    stated = CardConfig.model_validate_json(json.dumps(recipe.get("card", {})))
    description = stated.description.strip()
    sections = [
        (f"# {escape(manifest.name)}", [description] if description else []),
        ("## What it is", _details(manifest)),
        ("## Intended use", [stated.intended_use.strip() or _NOT_STATED]),
        ("## Out of scope", [stated.out_of_scope.strip() or _NOT_STATED]),
        ("## Labels", _labels(manifest, stated)),
        ("## Training data", _training_data(manifest)),
        ("## Conventions", _conventions(manifest)),
        ("## How well it does", _scores(manifest, stated)),
        ("## Do scores mean what they say?", _calibration(manifest)),
        ("## Limits", [stated.limits.strip() or _NOT_STATED]),
        ("## Licence and credit", _licences(manifest, stated)),
        ("## To make it again", _reproduction(manifest, recipe)),
    ]
    return "\n\n".join("\n\n".join([head, *paragraphs]) for head, paragraphs in sections) + "\n"


def _details(manifest: Manifest) -> Iterator[str]:
    rows = [
        ["language", escape(manifest.language) or "not stated"],
        ["network", describe_network(manifest)],
        ["parameters", f"{manifest.n_parameters:,}"],
    ]
    yield _table(["", ""], rows)


def _labels(manifest: Manifest, stated: CardConfig) -> Iterator[str]:
    meanings = [
        [code(label), escape(stated.labels.get(label, "")) or "not stated"]
        for label in manifest.labels
    ]
    yield _table(["label", "meaning"], meanings)


def _training_data(manifest: Manifest) -> Iterator[str]:
    rows = []
    for each in manifest.training_data:
        # Data of pretrained weights may be credited without counts.
        counts = [f"{n:,}" if n else "" for n in (each.n_sentences, each.n_words)]
        source = code(each.source) if each.source else ""
        rows.append([code(each.name), escape(each.licence), *counts, source])
    heads = ["corpus", "licence", "sentences", "words", "source"]
    yield _table(heads, rows) if rows else _NOT_STATED


def _conventions(manifest: Manifest) -> Iterator[str]:
    if not manifest.rules:
        yield "None: the annotations are as the corpora have them."
        return
    yield (
        "Rules of the recipe brought the annotations of all corpora, those that it is measured on "
        "included, to one convention. So many entities each of them changed:"
    )
    corpora = dict.fromkeys(each.corpus for each in manifest.rules)
    counts: dict[str, dict[str, list[int]]] = {}
    for each in manifest.rules:
        of_corpus = counts.setdefault(each.rule, {}).setdefault(each.corpus, [0, 0])
        of_corpus[0] += each.n_train
        of_corpus[1] += each.n_dev
    rows = [
        [code(corpus), escape(rule), *(f"{n:,}" for n in of_rule[corpus])]
        for corpus in corpora
        for rule, of_rule in counts.items()
        if any(of_rule.get(corpus, ()))
    ]
    yield _table(["corpus", "rule", "in train", "in dev"], rows)
    if unused := [rule for rule, of in counts.items() if not any(map(any, of.values()))]:
        yield f"Without effect: {'; '.join(map(escape, unused))}."


def _scores(manifest: Manifest, stated: CardConfig) -> Iterator[str]:
    dev = manifest.scores.get("dev", {})
    if "micro" not in dev:
        yield _NOT_STATED
        return
    yield (
        "Measured on development data, by which the weights were chosen. An entity counts as found "
        "when its start, end and label are all right."
    )
    rows = {code(label): counts for label, counts in dev.get("labels", {}).items()}
    yield _score_table("label", {**rows, "**all**": dev["micro"]})
    if stated.seeds:
        f1 = [dev["micro"]["f1"], *stated.seeds]
        yield (
            f"F1 of the same recipe with other seeds: {', '.join(map(percent, stated.seeds))}. "
            f"With this one, {len(f1)} in all: mean {percent(statistics.mean(f1))}, "
            f"standard deviation {percent(statistics.stdev(f1))}."
        )
    yield from _score_slices(manifest.scores)


_SLICES = (
    ("dev_by_corpus", "corpus", "By corpus:"),
    (
        "dev_by_surface",
        "these very words",
        "By whether these very words were an entity in training:",
    ),
    ("dev_by_length", "words", "By length:"),
    ("dev_robustness", "the same text", "On the same text when it is written otherwise:"),
)
"""Tables of the scores: their name in the manifest, the head of their first column, what is said
before them."""


def _score_slices(scores: Mapping[str, Any]) -> Iterator[str]:
    for name, head, said in _SLICES:
        found = scores.get(name, {}).items()
        rows = {code(each): counts for each, counts in found if isinstance(counts, Mapping)}
        if rows:
            yield said
            yield _score_table(head, rows)
        if name == "dev_by_corpus" and scores.get("dev_labels_by_corpus"):
            yield "F1 of each label in each corpus; empty where the corpus does not annotate it:"
            yield "\n".join(corpus_table(scores["dev_labels_by_corpus"]))


def _score_table(head: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(score_table(head, rows, SCORE_HEADS[:-1]))


def _calibration(manifest: Manifest) -> Iterator[str]:
    scores = manifest.scores
    if "dev_calibration_error" not in scores:
        yield _NOT_STATED
        return
    yield (
        "The score of an entity is the probability, according to the model, that exactly these "
        f"words have exactly this label, at a temperature of {manifest.temperature:.3f} that was "
        "fitted on the development data. Expected calibration error there (Naeini et al. 2015): "
        f"{percent(scores['dev_calibration_error'])}."
    )
    calibration = scores.get("dev_calibration", {})
    filled = [each for each in calibration.get("bins", ()) if each["predicted"]]
    if filled:
        rows = [[f"{each['from']:.1f} to {each['to']:.1f}", *_promise(each)] for each in filled]
        yield _table(["score", "predicted", "mean score", "right"], rows)
    for key, head in (("by_label", "label"), ("by_corpus", "corpus")):
        parts = {name: each for name, each in calibration.get(key, {}).items() if each["predicted"]}
        if parts:
            rows = [
                [code(name), *_promise(each), percent(each["error"])]
                for name, each in parts.items()
            ]
            yield _table([head, "predicted", "mean score", "right", "calibration error"], rows)


def _promise(each: Mapping[str, Any]) -> list[str]:
    return [f"{each['predicted']:,}", percent(each["mean_score"]), percent(each["share_right"])]


_OBLIGATIONS = (
    (r"\bBY\b", "ask for credit (BY)"),
    (r"\bSA\b", "ask that what is made from it is shared alike (SA)"),
    (r"\bNC\b", "allow no commercial use (NC)"),
    (r"\bND\b", "allow no changed version (ND)"),
)
"""What the names of Creative Commons licences say, and how they say it."""


def _licences(manifest: Manifest, stated: CardConfig) -> Iterator[str]:
    yield f"Of the model: {stated.licence.strip() or 'not stated.'}"
    asked = []
    for mark, demand in _OBLIGATIONS:
        found = [
            code(each.name) for each in manifest.training_data if re.search(mark, each.licence)
        ]
        asked += [f"- {demand}: {', '.join(found)}"] if found else []
    if asked:
        said = "It was trained on texts of others. Going by the names of their licences, which"
        yield "\n".join([f"{said} decide themselves, these", "", *asked])
    yield "Sources and licences of all of them are listed under Training data."


def _reproduction(manifest: Manifest, recipe: Mapping[str, Any]) -> Iterator[str]:
    file = f"{manifest.name}.toml"
    yield f"With the recipe below in `{file}` and the corpora that it names below `DIR`:"
    yield f"    teddy train {file} --data DIR"
    if weights := recipe.get("start", {}).get("weights"):
        yield f"It starts from {code(weights)}, which must be there too."
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", manifest.recipe)), default=0))
    yield f"{fence}toml\n{manifest.recipe.strip()}\n{fence}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join(markdown_table(heads, rows))

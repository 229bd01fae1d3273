"""A model card claims nothing but what the manifest holds, and can be written of any manifest."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from teddy.model.errors import RecipeError
from teddy.model.file.bundle import AppliedRule, Manifest, TrainingData, read_bundle
from teddy.model.system.toml import dump_toml
from teddy.training.export.model_card import render_card
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.recipe.sections import CardConfig

CARD = CardConfig(
    description="Finds names in tales.",
    intended_use="To index **tales**.",
    out_of_scope="Letters.\n\nAnything that decides about people.",
    limits="- Bears are not people.",
    labels={"PER": "people | not bears", "LOC": "towns_"},
    licence="CC0.",
    seeds=(0.91, 0.95),
)


@pytest.fixture(scope="module")
def manifest(tiny_model: Path) -> Manifest:
    return read_bundle(tiny_model).manifest


def with_card(manifest: Manifest, card: CardConfig) -> Manifest:
    recipe = tomllib.loads(manifest.recipe)
    return replace(manifest, recipe=dump_toml({**recipe, "card": card.model_dump(mode="json")}))


def section(card: str, head: str) -> str:
    return (
        re.split(r"^## ", card, flags=re.MULTILINE)[[*heads(card)].index(head) + 1]
        .partition("\n")[2]
        .strip()
    )


def heads(card: str) -> list[str]:
    return re.findall(r"^## (.*)$", card, flags=re.MULTILINE)


def table_rows(card: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in card.splitlines()
        if line.startswith("|")
    ]


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


HEADS = [
    "What it is",
    "Intended use",
    "Out of scope",
    "Labels",
    "Training data",
    "Conventions",
    "How well it does",
    "Do scores mean what they say?",
    "Limits",
    "Licence and credit",
    "To make it again",
]


def test_the_file_of_a_run_carries_the_card_of_its_manifest(tiny_model: Path) -> None:
    bundle = read_bundle(tiny_model)
    assert bundle.card == render_card(bundle.manifest)
    assert heads(bundle.card) == HEADS


def test_every_number_of_the_card_is_in_the_manifest(manifest: Manifest) -> None:
    card = render_card(manifest).partition("\n## To make it again")[0]
    known = set()
    for leaf in leaves(manifest.as_dict()):
        if isinstance(leaf, float):
            known |= {f"{leaf:.2%}", f"{leaf:.3f}", f"{leaf:.1f}"}
        else:
            known.add(f"{leaf:,}" if isinstance(leaf, int) else str(leaf).rstrip("+"))
    # Names, dates and words of the manifest, and the year of the paper, are no measurements.
    text = re.sub(r"et al\. \d+", "", card)
    for leaf in leaves(manifest.as_dict()):
        if isinstance(leaf, str) and re.search(r"\d", leaf) and len(leaf) > 3:
            text = text.replace(leaf, "")
    found = re.findall(r"\d[\d,.]*\d%?|\d%?", text)
    assert len(found) > 50
    assert [number for number in found if number not in known] == []


def test_scores_stand_in_the_row_of_what_they_are_of(manifest: Manifest) -> None:
    rows = table_rows(render_card(manifest))
    for parts in (
        manifest.scores["dev"]["labels"],
        manifest.scores["dev_by_corpus"],
        manifest.scores["dev_by_length"],
    ):
        for name, counts in parts.items():
            ratios = [f"{counts[key]:.2%}" for key in ("precision", "recall", "f1")]
            assert [f"`{name}`", *ratios, f"{counts['gold']:,}", f"{counts['predicted']:,}"] in rows
    assert [
        "`made-up`",
        "CC0",
        "200",
        f"{manifest.training_data[0].n_words:,}",
        "`the tests`",
    ] in rows


def test_the_card_counts_what_each_rule_has_changed_in_each_corpus(manifest: Manifest) -> None:
    assert section(render_card(manifest), "Conventions").startswith("None: the annotations")
    rules = (
        AppliedRule(corpus="one", rule="titles left out", n_train=1200, n_dev=3),
        AppliedRule(corpus="one", rule="no effect", n_train=0, n_dev=0),
        AppliedRule(corpus="two", rule="titles left out", n_train=0, n_dev=4),
    )
    card = render_card(replace(manifest, rules=rules))
    rows = table_rows(card)
    assert ["`two`", "titles left out", "0", "4"] in rows
    assert ["`one`", "titles left out", "1,200", "3"] in rows
    assert "Without effect: no effect." in section(card, "Conventions")


def test_a_recipe_without_a_card_gives_one_that_says_what_is_not_stated(manifest: Manifest) -> None:
    recipe = tomllib.loads(manifest.recipe)
    del recipe["card"]
    card = render_card(replace(manifest, recipe=dump_toml(recipe)))
    assert heads(card) == HEADS
    for head in ("Intended use", "Out of scope", "Limits"):
        assert section(card, head) == "Not stated."
    assert "Of the model: not stated." in card
    assert re.search(r"\| `PER` +\| not stated +\|", card)
    assert "seeds" not in card


def test_what_the_recipe_says_stands_in_the_card_as_it_was_written(manifest: Manifest) -> None:
    card = render_card(with_card(manifest, CARD))
    assert card.startswith("# tiny\n\nFinds names in tales.\n")
    assert section(card, "Intended use") == CARD.intended_use
    assert section(card, "Out of scope") == CARD.out_of_scope
    assert section(card, "Limits") == CARD.limits
    assert "Of the model: CC0." in card
    assert re.search(r"\| `PER` +\| people \\\| not bears +\|", card)


def test_the_spread_of_seeds_is_that_of_all_of_them(manifest: Manifest) -> None:
    f1s = [manifest.scores["dev"]["micro"]["f1"], 0.91, 0.95]
    mean = sum(f1s) / 3
    deviation = (sum((f1 - mean) ** 2 for f1 in f1s) / 2) ** 0.5
    spread = f"mean {mean:.2%}, standard deviation {deviation:.2%}"
    said = f"other seeds: 91.00%, 95.00%. With this one, 3 in all: {spread}."
    assert said in render_card(with_card(manifest, CARD))


def test_every_table_lines_up(manifest: Manifest) -> None:
    tables = re.findall(
        r"(?:^\|.*\|\n)+", render_card(with_card(manifest, CARD)), flags=re.MULTILINE
    )
    assert len(tables) >= 9
    for table in tables:
        assert len({len(row) for row in table.splitlines()}) == 1
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_licences_are_told_by_what_they_ask(manifest: Manifest) -> None:
    data = [
        ("a", "CC BY 4.0"),
        ("b", "MIT (text: Wikipedia, CC BY-SA)"),
        ("c", "CC0"),
        ("d", "CC BY-NC-ND 2.0"),
    ]
    credited = tuple(TrainingData(name=name, licence=licence) for name, licence in data)
    said = section(render_card(replace(manifest, training_data=credited)), "Licence and credit")
    assert re.findall(r"^- (.*)$", said, flags=re.MULTILINE) == [
        "ask for credit (BY): `a`, `b`, `d`",
        "ask that what is made from it is shared alike (SA): `b`",
        "allow no commercial use (NC): `d`",
        "allow no changed version (ND): `d`",
    ]
    free = section(
        render_card(replace(manifest, training_data=credited[2:3])), "Licence and credit"
    )
    assert "- " not in free


def test_what_was_not_measured_is_not_claimed(manifest: Manifest) -> None:
    card = render_card(replace(manifest, scores={}, training_data=()))
    assert heads(card) == HEADS
    for head in ("How well it does", "Do scores mean what they say?", "Training data"):
        assert section(card, head) == "Not stated."


def test_robustness_is_told_when_it_was_measured(manifest: Manifest) -> None:
    without = {name: value for name, value in manifest.scores.items() if name != "dev_robustness"}
    assert "written otherwise" not in render_card(replace(manifest, scores=without))
    counts = {
        "precision": 0.5,
        "recall": 0.25,
        "f1": 1 / 3,
        "gold": 8,
        "predicted": 4,
        "correct": 2,
    }
    card = render_card(
        replace(
            manifest,
            scores={**manifest.scores, "dev_robustness": {"sentences": 9, "lower case": counts}},
        )
    )
    assert ["`lower case`", "50.00%", "25.00%", "33.33%", "8", "4"] in table_rows(card)


@pytest.mark.parametrize("comment", ["", "``` a fence of its own", "`````"])
def test_the_recipe_in_the_card_is_the_recipe(
    manifest: Manifest, tmp_path: Path, comment: str
) -> None:
    stated = CardConfig(limits=comment)
    card = render_card(with_card(manifest, stated))
    found = re.search(r"^(```+)toml\n(.*)\n\1$", card, flags=re.MULTILINE | re.DOTALL)
    assert found
    (tmp_path / "again.toml").write_text(found[2])
    again = load_recipe(tmp_path / "again.toml")
    assert again.dump_toml() == dumped_with(manifest, stated)
    assert again.card == stated


def dumped_with(manifest: Manifest, card: CardConfig) -> str:
    plain = Recipe.model_validate_json(json.dumps(tomllib.loads(manifest.recipe)))
    return plain.model_copy(update={"card": card}).dump_toml()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (
            '[card.labels]\nPERS = "people"\n',
            "card.labels.PERS: 'PERS' is not in labels; did you mean PER?",
        ),
        ("[card]\nseeds = [0.9, 91.2]\n", "card.seeds.1: must be an F1 between 0 and 1, not 91.2"),
        ("[card]\nlimit = 'none'\n", "card.limit: unknown key; did you mean limits?"),
        ("[card]\nlabels = { PER = 3 }\n", "card.labels.PER: "),
    ],
)
def test_a_card_that_does_not_fit_is_told_by_its_key(
    tiny_data: Path, tmp_path: Path, table: str, reason: str
) -> None:
    path = tmp_path / "carded.toml"
    path.write_text(f"{(tiny_data / 'tiny.toml').read_text()}\n{table}")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert reason in str(caught.value)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(caught.value))

"""The table of scores on perturbed sentences: what its rows mean, and where it is shown."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence, align
from teddy.training.data.perturbations import lower, title, unpunctuated, upper
from teddy.training.data.readers.rows import Example
from teddy.training.evaluation.evaluate import ScoredSpan, evaluate
from teddy.training.evaluation.robustness import (
    PERTURBATIONS,
    Robustness,
    measure_robustness,
    perturbed,
)

Shell = Callable[..., tuple[int, str, str]]

NAMES = ("Anna", "Oslo", "Mira")


def sentence(text: str, number: int, broken: bool = False) -> Sentence:
    """A sentence whose names are entities; a broken one has another that words cannot express."""
    spans = [
        Span(text.index(name), text.index(name) + len(name), "PER")
        for name in NAMES
        if name in text
    ]
    spans += [Span(1, 2, "PER")] if broken else []
    example = Example(
        text=text,
        spans=tuple(spans),
        span_lines=(1,) * len(spans),
        path="made-up",
        line=number,
        is_sentence=True,
        document=0,
    )
    return align(example, "c", Tokeniser(), lambda _: None)[0]


SENTENCES = [
    sentence("Yesterday, Anna went to Oslo.", 1),
    sentence("Where is Mira ?", 2),
    sentence("Nobody knows.", 3, broken=True),
    sentence("...", 4),
    sentence("In Oslo it rains and rains and rains", 5),
]


def finds_capitals(sentences: Sequence[Sequence[str]]) -> list[list[ScoredSpan]]:
    """A tagger that goes by the first letter alone."""
    return [
        [
            ScoredSpan(Span(i, i + 1, "PER"))
            for i, word in enumerate(words)
            if i and word[0].isupper()
        ]
        for words in sentences
    ]


def measured() -> Robustness:
    return measure_robustness(finds_capitals, SENTENCES, labels=("PER",))


def test_every_row_is_the_evaluation_of_the_perturbed_sentences_and_of_the_same_entities() -> None:
    robustness = measured()
    assert tuple(robustness.by_perturbation) == PERTURBATIONS
    assert robustness.n_sentences == len(SENTENCES)
    for name, row in robustness.by_perturbation.items():
        assert row.counts == evaluate(finds_capitals, perturbed(name, SENTENCES)).scores.micro
        assert row.counts.gold == 5


def test_the_sentences_are_those_of_the_perturbations() -> None:
    assert perturbed("clean", SENTENCES) == SENTENCES
    for name, change in (
        ("lower", lower),
        ("upper", upper),
        ("title", title),
        ("unpunctuated", unpunctuated),
    ):
        assert perturbed(name, SENTENCES) == [change(each) or each for each in SENTENCES]
    assert len(perturbed("joined", SENTENCES)) == 3
    assert perturbed("typos", SENTENCES * 9, seed=1) == perturbed("typos", SENTENCES * 9, seed=1)
    assert perturbed("typos", SENTENCES * 9, seed=1) != perturbed("typos", SENTENCES * 9, seed=2)


def test_it_counts_the_sentences_that_changed() -> None:
    changed = {name: row.n_changed for name, row in measured().by_perturbation.items()}
    assert changed["clean"] == 0
    assert changed["lower"] == changed["upper"] == changed["unpunctuated"] + 1 == 4
    assert changed["joined"] == 4


def test_a_tagger_that_goes_by_capitals_finds_nothing_in_lower_case() -> None:
    rows = measured().by_perturbation
    assert rows["clean"].counts.recall == 0.8
    assert rows["lower"].counts.predicted == 0
    assert rows["upper"].counts.precision < rows["clean"].counts.precision
    assert measured() == measured()


def test_the_command_prints_the_table_and_writes_it_into_the_report(
    shell: Shell, tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    options = (tiny_model, tiny_data / "dev.conll", "--report", tmp_path, "--robustness")
    code, output, told = shell("evaluate", *options)
    assert (code, told) == (0, "")
    rows = [line.split() for line in output.splitlines()[-len(PERTURBATIONS) :]]
    assert [row[0] for row in rows] == list(PERTURBATIONS)
    strict = [line.split() for line in output.splitlines() if line.startswith("all")]
    assert rows[0][1:4] == strict[0][1:4]
    assert rows[0][4:] == ["+0.00%", "0"]

    as_json = json.loads(shell("evaluate", "--json", *options)[1])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["robustness"] == as_json["robustness"]
    for row in rows:
        of_row = report["robustness"]["by_perturbation"][row[0]]
        assert [f"{of_row[key]:.2%}" for key in ("precision", "recall", "f1")] == row[1:4]
        assert of_row["changed"] == int(row[5])
    markdown = (tmp_path / "report.md").read_text()
    for row in rows:
        line = next(line for line in markdown.splitlines() if line.startswith(f"| `{row[0]}`"))
        assert [cell.strip() for cell in line.split("|")[2:-1]] == row[1:]


def test_without_the_option_nothing_of_it_is_shown(
    shell: Shell, tiny_model: Path, tiny_data: Path
) -> None:
    code, output, _ = shell("evaluate", tiny_model, tiny_data / "dev.conll")
    assert code == 0
    assert "unpunctuated" not in output
    assert "robustness" not in json.loads(
        shell("evaluate", "--json", tiny_model, tiny_data / "dev.conll")[1]
    )

import json
from pathlib import Path
from typing import Any

import pytest

from training.check import check_file, check_recipe
from training.check_report import CheckReport, Kind
from training.config import Recipe
from training.corpus_config import CorpusConfig, FormatConfig


def columns(*sentences: str) -> str:
    """Write sentences such as ``Ada/PER left`` as columns; each marked word is a span."""
    blocks = []
    for sentence in sentences:
        pairs = [word.partition("/") for word in sentence.split()]
        blocks.append("".join(f"{word} {f'B-{label}' if label else 'O'}\n" for word, _, label in pairs))
    return "\n".join(blocks)


def check(path: Path, *sentences: str) -> CheckReport:
    path.write_text(columns(*sentences), encoding="utf-8")
    return check_file(path, FormatConfig())


def messages(report: CheckReport, kind: Kind) -> list[str]:
    return [f"{finding.line}: {finding.message}" for finding in report.findings if finding.kind is kind]


def test_counts_are_of_words_and_of_spans_by_label(tmp_path: Path) -> None:
    report = check(tmp_path / "a.conll", "Ada/PER saw Bo/PER in Rome/LOC", "They left")
    [part] = report.parts
    assert (part.sentences, part.words, part.longest_sentence, part.spans) == (2, 7, 5, 3)
    assert part.labels == {"PER": 2, "LOC": 1}


def test_a_surface_with_a_rare_label_is_found(tmp_path: Path) -> None:
    usual = [f"in Rome/LOC on day {n}" for n in range(10)]
    report = check(tmp_path / "a.conll", *usual, "with Rome/PER")
    assert messages(report, Kind.OTHER_LABEL) == ["61: 'Rome' is PER here, and LOC 10 times"]


def test_a_surface_that_is_unmarked_only_once_is_found(tmp_path: Path) -> None:
    usual = [f"in Rome/LOC on day {n}" for n in range(10)]
    report = check(tmp_path / "a.conll", *usual, "to Rome again")
    assert messages(report, Kind.UNMARKED) == ["61: 'Rome' is marked 10 times, and not here"]


def test_repeats_are_told_apart_from_contradictions(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    report = check(path, *["Ada/PER left for Rome/LOC then"] * 2, "Ada/PER left for Rome/PER then")
    assert messages(report, Kind.DUPLICATE) == [f"7: as at {path}:1"]
    assert messages(report, Kind.CONTRADICTION) == [f"13: PER 'Rome' here, LOC 'Rome' at {path}:1"]


def test_illegal_tag_sequences_are_found_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada B-PER\nByron I-PER\nsaw O\nRome I-LOC\nmet O\nBo S-PER\n", encoding="utf-8")
    report = check_file(path, FormatConfig(outside=("S-PER",)))
    assert messages(report, Kind.REPAIRED) == ["4: tag I-LOC is read as B-LOC"]


def test_a_scheme_in_which_every_tag_is_legal_is_suggested(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada I-PER\nsaw O\nRome I-LOC\nB-LOC B-LOC\n", encoding="utf-8")
    first, *_ = messages(check_file(path, FormatConfig()), Kind.REPAIRED)
    assert first == "None: 2 tags are illegal in the scheme bio, and none in iob1"


def test_odd_spans_sentences_and_characters_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    long_sentence = "word O\n" * 201
    path.write_text(f"Ada B-PER\n, I-PER\nna\u00adme O\ncafÃ© O\n\n{long_sentence}", encoding="utf-8")
    report = check_file(path, FormatConfig())
    assert messages(report, Kind.EDGE) == ["1: PER 'Ada ,'"]
    assert messages(report, Kind.LENGTH) == ["6: 201 words; is the end of a sentence missing?"]
    assert sorted(messages(report, Kind.CHARACTER)) == [
        "1: 'Ã©', which looks like UTF-8 read as Latin-1: once, first here",
        "1: U+00AD SOFT HYPHEN: once, first here",
    ]


def test_misaligned_spans_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "Adams left", "entities": [[0, 3, "PER"]]}', encoding="utf-8")
    report = check_file(path, FormatConfig(format="jsonl"))
    assert messages(report, Kind.MISALIGNED) == ["1: PER 'Ada' does not fall on word borders"]
    assert report.parts[0].misaligned == 1


def test_a_file_that_cannot_be_read_is_the_first_finding(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada B-PER\n\nBo X-PER\n", encoding="utf-8")
    report = check_file(path, FormatConfig())
    assert not report.is_readable
    assert report.findings[0].kind is Kind.UNREADABLE
    assert str(report.findings[0]) == f"{path}:3: bad tag 'X-PER' for the scheme bio"
    assert report.parts[0].sentences == 1


@pytest.fixture
def recipe_report(tmp_path: Path) -> CheckReport:
    (tmp_path / "train").write_text(columns("Ada/PER left for Rome today", "Bo left"), encoding="utf-8")
    (tmp_path / "dev").write_text(columns("Cy/PER left", "Ada/PER left for Rome today"), encoding="utf-8")
    good = CorpusConfig(name="good", licence="CC0", train=("train",), dev=("dev",))
    lost = CorpusConfig(name="lost", licence="CC0", train=("nowhere",))
    return check_recipe(Recipe(name="x", labels=("PER", "LOC"), corpus=(good, lost)), tmp_path, path="x.toml")


def test_a_recipe_is_checked_corpus_by_corpus_and_train_against_dev(recipe_report: CheckReport) -> None:
    assert [(part.corpus, part.part, part.sentences) for part in recipe_report.parts] == [
        ("good", "train", 2),
        ("good", "dev", 2),
    ]
    assert len(messages(recipe_report, Kind.UNREADABLE)) == 1
    assert len(messages(recipe_report, Kind.LEAK)) == 1
    assert messages(recipe_report, Kind.NO_EXAMPLES) == [
        "None: LOC has 0 spans in the training data of x",
        "None: PER has 1 spans in the training data of x",
    ]


def test_the_report_has_a_text_and_a_json_form_in_the_same_order(recipe_report: CheckReport) -> None:
    values: dict[str, Any] = json.loads(json.dumps(recipe_report.as_dict()))
    assert [finding["kind"] for finding in values["findings"]] == [
        finding.kind.name.lower() for finding in recipe_report.findings
    ]
    assert sum(values["counts"].values()) == len(values["findings"])
    text = recipe_report.as_text(limit=1)
    assert text.startswith("good, train: 2 sentences (longest 5 words), 7 words, 1 spans: PER 1\n")
    assert "... and 1 more" in text
    assert "x.toml: LOC has 0 spans" in text


def test_good_data_has_no_findings(tmp_path: Path) -> None:
    report = check(tmp_path / "a.conll", *[f"Ada{n}/PER met {n} friends" for n in range(30)])
    assert report.findings == ()
    assert report.as_text().endswith("Nothing suspicious.")

"""Label noise, found by small taggers in made-up sentences, with what was changed as the oracle."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.system.processes import available_cores
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.check.finding_kinds import FindingKind
from teddy.training.check.noise import (
    NoiseOptions,
    NoiseReport,
    divide,
    find_noise,
    noise_findings,
    suspects_in,
)
from teddy.training.check.noise_processes import read_folds
from teddy.training.check.noise_taggers import Fold, QuickConfig, Reading, epochs_for, is_latin
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus

ROOT = Path(__file__).parents[2]
LABELS = ("PER", "LOC")
PEOPLE = (
    "Anna Berg",
    "Otto Lind",
    "Mira",
    "Jonas Falk",
    "Teddy Marsh",
    "Ida Holm",
    "Nils Dahl",
    "Eva",
)
PLACES = ("Oslo", "New Haven", "Lund", "Port Ellen", "Ghent", "Bergen", "Turku")
FRAMES = (
    "{PER} went to {LOC} on day {n} .",
    "In {LOC} , {PER} ate {n} apples .",
    "Then {n} bears slept near {LOC} .",
)


def sentence(
    text: str, *spans: Span, line: int = 1, path: str = "a", corpus: str = "made-up"
) -> Sentence:
    """A sentence whose words stand between single spaces."""
    words = tuple(text.split(" "))
    starts = [sum(len(word) + 1 for word in words[:n]) for n in range(len(words))]
    return Sentence(
        words=words,
        offsets=tuple(
            (start, start + len(word)) for start, word in zip(starts, words, strict=True)
        ),
        spans=spans,
        unknown=(),
        misaligned=(),
        corpus=corpus,
        text=text,
        path=path,
        line=line,
        tokeniser=Tokeniser(),
    )


def filled(frame: str, n: int, draw: random.Random) -> Sentence:
    """A frame with names in its slots, each of which is an annotated entity."""
    words: list[str] = []
    spans: list[Span] = []
    for slot in frame.split(" "):
        label = slot.strip("{}")
        name = (
            draw.choice(PEOPLE if label == "PER" else PLACES).split(" ") if label in LABELS else []
        )
        if name:
            spans.append(Span(len(words), len(words) + len(name), label))
        words += name or [slot.format(n=n) if slot == "{n}" else slot]
    return sentence(" ".join(words), *spans, line=n)


def make_corpus(sentences: list[Sentence], name: str = "made-up") -> Corpus:
    return Corpus(name=name, annotates=frozenset(LABELS), train=sentences)


@pytest.fixture(scope="module")
def clean() -> list[Sentence]:
    draw = random.Random(1)  # noqa: S311
    return [filled(draw.choice(FRAMES), n, draw) for n in range(1, 121)]


@pytest.fixture(scope="module")
def tiny() -> QuickConfig:
    """A network that learns the made-up sentences in a second."""
    return QuickConfig(
        labels=LABELS,
        starts_from_en=False,
        epochs=15,
        seed=1,
        batch_words=60,
        features=FeatureConfig(shape_rows=32, affix_rows=512),
        network=NetworkConfig(layers=1, normalise=True, embedding_width=32, hidden_width=32),
    )


@pytest.fixture(scope="module")
def spoilt(clean: list[Sentence]) -> list[Sentence]:
    """The same with the label of line 11 changed, and an entity of line 22 not marked."""
    other = {"PER": "LOC", "LOC": "PER"}
    changed = list(clean)
    first, *rest = changed[10].spans
    changed[10] = replace(changed[10], spans=(replace(first, label=other[first.label]), *rest))
    changed[21] = replace(changed[21], spans=changed[21].spans[1:])
    return changed


@pytest.fixture(scope="module")
def report(spoilt: list[Sentence], tiny: QuickConfig) -> Iterator[NoiseReport]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("teddy.training.check.noise._config", lambda *_: tiny)
        yield find_noise(
            [make_corpus(spoilt)], LABELS, NoiseOptions(folds=2, processes=1), lambda _: None
        )


def test_a_changed_label_is_the_most_suspicious_one(
    report: NoiseReport, clean: list[Sentence]
) -> None:
    first = report.of_kind(FindingKind.LABEL_NOISE)[0]
    assert (first.sentence.line, first.proposed) == (11, clean[10].spans[0])
    assert first.probability > 0.5


def test_an_entity_that_was_not_marked_is_the_most_suspicious_place(
    report: NoiseReport, clean: list[Sentence]
) -> None:
    first = report.of_kind(FindingKind.MISSING_NOISE)[0]
    assert (first.sentence.line, first.given, first.proposed) == (22, None, clean[21].spans[0])


def test_only_what_the_taggers_hold_for_more_probable_is_told_and_where_it_stands(
    report: NoiseReport,
) -> None:
    findings = [*noise_findings(report)]
    assert (
        len(findings)
        == sum(suspect.suspicion > 0 for suspect in report.suspects)
        < len(report.suspects)
    )
    first = next(finding for finding in findings if finding.kind is FindingKind.LABEL_NOISE)
    assert (first.path, first.line) == ("a", 11)
    assert first.given
    assert first.proposed
    assert (first.given.start, first.given.end) == (first.proposed.start, first.proposed.end)
    surface = first.text[first.given.start : first.given.end]
    given = f"{first.given.label} {surface!r}"
    assert first.message == f"{given}; rather {first.proposed.label} ({first.probability:.0%})"


def test_every_annotation_is_ranked_by_its_label_once(
    report: NoiseReport, spoilt: list[Sentence]
) -> None:
    ranked = report.of_kind(FindingKind.LABEL_NOISE)
    assert len(ranked) == report.n_annotations == sum(len(each.spans) for each in spoilt)
    suspicions = [suspect.suspicion for suspect in ranked]
    assert suspicions == sorted(suspicions, reverse=True)
    assert len({(suspect.sentence.line, suspect.given) for suspect in ranked}) == len(ranked)


def made_reading(
    *found: tuple[Span, float], by_label: tuple[float, float] = (0.0, 0.0), outside: float = 0.0
) -> Reading:
    return Reading(by_label=(by_label,), outside=(outside,), found=found)


@pytest.mark.parametrize(
    ("reading", "kind", "proposed", "suspicion"),
    [
        (
            made_reading(by_label=(0.1, 0.3)),
            FindingKind.LABEL_NOISE,
            Span(0, 2, "LOC"),
            math.log(0.75 / 0.25),
        ),
        (
            made_reading((Span(0, 1, "PER"), 0.8), by_label=(0.1, 0.0)),
            FindingKind.BORDER_NOISE,
            Span(0, 1, "PER"),
            math.log(0.8 / 0.1),
        ),
        (
            made_reading(by_label=(0.2, 0.0), outside=0.7),
            FindingKind.SPURIOUS_NOISE,
            None,
            math.log(0.7 / 0.2),
        ),
        (
            made_reading((Span(3, 4, "LOC"), 0.9), by_label=(1.0, 0.0)),
            FindingKind.MISSING_NOISE,
            Span(3, 4, "LOC"),
            math.log(0.9 / 0.1),
        ),
    ],
    ids=["label", "borders", "spurious", "missing"],
)
def test_each_question_compares_two_probabilities(
    reading: Reading, kind: FindingKind, proposed: Span | None, suspicion: float
) -> None:
    suspects = suspects_in(
        sentence("Ada Byron in Rome", Span(0, 2, "PER")), reading, LABELS, LABELS
    )
    [suspect] = [suspect for suspect in suspects if suspect.kind is kind]
    assert suspect.proposed == proposed
    assert suspect.suspicion == pytest.approx(suspicion, abs=1e-4)


def test_what_a_corpus_does_not_annotate_is_neither_missing_nor_proposed() -> None:
    place = replace(sentence("Ada Byron in Rome", Span(0, 2, "PER")), unknown=((2, 3),))
    reading = made_reading((Span(2, 3, "PER"), 0.9), (Span(3, 4, "LOC"), 0.9), by_label=(0.1, 0.9))
    [suspect] = suspects_in(place, reading, LABELS, {"PER"})
    assert (suspect.kind, suspect.proposed) == (FindingKind.LABEL_NOISE, Span(0, 2, "PER"))
    assert suspect.suspicion < 0


def test_sentences_of_the_same_words_or_document_share_a_fold_and_folds_are_even() -> None:
    draw = random.Random(2)  # noqa: S311
    sentences = [
        sentence(f"word {draw.randrange(120)}", line=draw.randrange(60)) for _ in range(300)
    ]
    fold_of = divide(sentences, 3, seed=1)
    by_words: dict[object, set[int]] = {}
    for each, fold in zip(sentences, fold_of, strict=True):
        by_words.setdefault(each.words, set()).add(fold)
    assert all(len(folds) == 1 for folds in by_words.values())
    assert fold_of == divide(sentences, 3, seed=1)

    documents = [sentence(f"word {n}", line=n // 5) for n in range(300)]
    of_document = divide(documents, 3, seed=1)
    assert all(len(set(of_document[n : n + 5])) == 1 for n in range(0, 300, 5))
    assert sorted(of_document.count(fold) for fold in range(3)) == [100, 100, 100]
    assert divide(documents, 3, seed=2) != of_document


def test_a_file_that_is_one_document_is_divided_by_sentences() -> None:
    fold_of = divide([sentence(f"word {n}") for n in range(90)], 3, seed=1)
    assert [fold_of.count(fold) for fold in range(3)] == [30, 30, 30]


def test_small_corpora_are_gone_through_more_often_and_most_of_all_from_scratch() -> None:
    epochs = [epochs_for(n, starts_from_en=True) for n in (0, 10_000, 50_000, 10_000_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert all(
        epochs_for(n, starts_from_en=False) > epochs_for(n, starts_from_en=True)
        for n in (10_000, 10_000_000)
    )


@pytest.mark.parametrize(
    ("text", "latin"),
    [("Anna Berg in Åbo", True), ("東京 Tokyo 大阪市と京都市", False), ("12", False)],
)
def test_the_shipped_encoder_is_for_latin_letters(text: str, latin: bool) -> None:
    assert is_latin([sentence(text)]) is latin


def folds_of(clean: list[Sentence]) -> list[Fold]:
    half = len(clean) // 2
    parts = (clean[:half], clean[half:])
    return [
        Fold(number=n, learnt=(make_corpus(parts[1 - n]),), asked=tuple(parts[n][:5]))
        for n in range(2)
    ]


def test_processes_side_by_side_give_what_one_gives(
    clean: list[Sentence], tiny: QuickConfig
) -> None:
    config = replace(tiny, epochs=1)
    shares: list[float] = []
    alone = read_folds(folds_of(clean), config, 1, lambda _: None)
    assert read_folds(folds_of(clean), config, 2, shares.append) == alone
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def children_of(pid: int) -> set[int]:
    return {
        int(number)
        for file in Path(f"/proc/{pid}/task").glob("*/children")
        for number in file.read_text().split()
    }


def is_running(pid: int) -> bool:
    """Whether such a process has not ended; an ended child is listed until waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.skipif(
    available_cores() < 2, reason="with one core there are no processes side by side"
)
def test_ctrl_c_ends_all_processes_and_leaves_no_file(
    clean: list[Sentence], tmp_path: Path
) -> None:
    lines = "\n\n".join("\n".join(f"{word} O" for word in each.words) for each in clean)
    (tmp_path / "a.conll").write_text(lines + "\n\nAda B-PER\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "teddy",
        "check",
        str(tmp_path / "a.conll"),
        "--deep",
        "--start",
        "none",
    ]
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, start_new_session=True, text=True
    ) as process:
        try:
            wait_until(lambda: len(children_of(process.pid)) > 1 or process.poll() is not None)
            begun = children_of(process.pid)
            os.killpg(process.pid, signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    wait_until(lambda: not any(map(is_running, begun)))
    assert len(begun) > 1
    assert process.returncode == 130
    assert "Traceback" not in told
    assert [*folder.iterdir()] == []
    assert not any(map(is_running, begun))

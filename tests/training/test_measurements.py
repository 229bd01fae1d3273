"""What is measured of a tagger, against a slow count of the same thing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from teddy.model.drift.reference import FeatureReference
from teddy.model.file.bundle import TrainingData
from teddy.model.tagger import Tagger
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.evaluation.evaluate import Evaluation
from teddy.training.evaluation.measurements import (
    Measurements,
    annotated_labels,
    dev_sentences,
    evaluate_dev,
    joined_credits,
    measure_on_dev,
    read_measurements,
)
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.recipe.recipe import ExportConfig, Recipe


@pytest.fixture(scope="module")
def corpora(tiny_recipe: Recipe, tiny_data: Path) -> list[Corpus]:
    """The made-up corpus in two: one half annotates PER only."""
    (corpus,) = load_corpora(tiny_recipe, tiny_data)
    full = replace(
        corpus, name="full", dev=[replace(each, corpus="full") for each in corpus.dev[:20]]
    )
    people = [
        replace(
            each, corpus="people", spans=tuple(span for span in each.spans if span.label == "PER")
        )
        for each in corpus.dev[20:]
    ]
    partial = replace(
        corpus,
        name="people",
        licence="CC-BY-4.0",
        source="others",
        annotates=frozenset({"PER"}),
        train=[],
        dev=people,
    )
    return [full, partial]


@pytest.fixture(scope="module")
def tagger(tiny_run: Path) -> Tagger:
    return Tagger(*load_checkpoint(tiny_run / "best.checkpoint").build())


@pytest.fixture(scope="module")
def measured(tiny_run: Path, corpora: list[Corpus]) -> tuple[Measurements, Evaluation]:
    return measure_on_dev(
        *load_checkpoint(tiny_run / "best.checkpoint").build(), corpora, ExportConfig()
    )


def test_a_card_comes_back_from_json_as_it_was(measured: tuple[Measurements, Evaluation]) -> None:
    card = replace(measured[0], halved=True)
    assert read_measurements(card.as_json()) == card


def test_every_corpus_that_was_trained_on_is_credited_with_its_licence(
    measured: tuple[Measurements, Evaluation], corpora: list[Corpus]
) -> None:
    found = [
        (each.name, each.licence, each.source, each.n_sentences)
        for each in measured[0].training_data
    ]
    assert found == [("full", "CC0", "the tests", 200)]  # "people" has dev sentences only
    assert measured[0].training_data[0].n_words == sum(len(each.words) for each in corpora[0].train)


def test_the_reference_counts_what_the_tagger_finds_in_dev(
    measured: tuple[Measurements, Evaluation], corpora: list[Corpus], tiny_run: Path
) -> None:
    card, _ = measured
    network, features, tag_set = load_checkpoint(tiny_run / "best.checkpoint").build()
    network.crf.temperature.fill_(card.temperature)
    labels = dict.fromkeys(("PER", "LOC"), 0)
    scores, pieces = [0] * 10, [0] * 8
    for sentence in dev_sentences(corpora):  # one sentence is one text here
        (tagged,) = Tagger(network, features, tag_set).tag([sentence.words])
        for span, score in zip(tagged.spans, tagged.scores, strict=True):
            labels[span.label] += 1
            scores[9 if score == 1.0 else int(score * 10)] += 1
        for word in sentence.words:
            pieces[min(len(features.pieces.ids(word)), 8) - 1] += 1
    found = card.reference.features
    assert found["label"].counts == labels
    assert [*found["score"].counts.values()] == scores
    assert [*found["pieces"].counts.values()] == pieces


def test_a_checkpoint_of_an_earlier_teddy_has_a_smaller_reference(
    measured: tuple[Measurements, Evaluation],
) -> None:
    plain = json.loads(measured[0].as_json())
    plain["reference"] = {
        "n_words": 200,
        "entities_per_word": {"PER": 0.1, "LOC": 0.05},
        "score_histogram": [0] * 9 + [30],
        "pieces_per_word_histogram": [200] + [0] * 7,
    }
    features = read_measurements(json.dumps(plain)).reference.features
    assert features["label"] == FeatureReference(counts={"PER": 20, "LOC": 10}, spread=1)
    assert {name: each.counts.keys() for name, each in features.items()} == {
        name: measured[0].reference.features[name].counts.keys()
        for name in ("label", "score", "pieces")
    }


def test_scores_of_the_corpora_add_up_and_what_a_corpus_does_not_annotate_does_not_count(
    tagger: Tagger, corpora: list[Corpus], measured: tuple[Measurements, Evaluation]
) -> None:
    evaluation = evaluate_dev(tagger, corpora)
    alone = [evaluate_dev(tagger, [corpus]).scores.micro for corpus in corpora]
    assert alone[0] + alone[1] == evaluation.scores.micro
    assert evaluation.by_corpus["people"].by_label["LOC"].predicted == 0
    assert evaluation.n_ignored > 0
    assert measured[0].scores["dev"]["micro"]["f1"] == evaluation.scores.micro.f1
    assert (
        measured[0].scores["dev_by_corpus"].keys()
        == annotated_labels(corpora).keys()
        == {"full", "people"}
    )


def test_the_card_has_the_scores_and_the_calibration_of_the_report(
    measured: tuple[Measurements, Evaluation], corpora: list[Corpus]
) -> None:
    scores, report = measured[0].scores, measured[1].as_dict()
    assert scores["dev_calibration"] == report["calibration"]
    assert scores["dev_calibration_error"] == scores["dev_calibration"]["error"]
    assert scores["dev_calibration"]["by_corpus"].keys() == {"full", "people"}
    assert (
        sum(each["predicted"] for each in scores["dev_calibration"]["bins"])
        == scores["dev"]["micro"]["predicted"]
    )
    for corpus in corpora:
        counts = scores["dev_labels_by_corpus"][corpus.name]
        assert (
            sum(each["gold"] for each in counts.values())
            == scores["dev_by_corpus"][corpus.name]["gold"]
        )
    assert scores["dev_robustness"]["clean"] == scores["dev"]["micro"]
    for counts in scores["dev_robustness"].values():
        assert counts["gold"] == scores["dev"]["micro"]["gold"]
    for parts in ("dev_by_length", "dev_by_surface", "dev_by_corpus"):
        assert (
            sum(each["correct"] for each in scores[parts].values())
            == scores["dev"]["micro"]["correct"]
        )


def test_a_tagger_that_is_sure_and_right_has_no_calibration_error(
    measured: tuple[Measurements, Evaluation],
) -> None:
    card, evaluation = measured
    assert evaluation.scores.micro.precision > 0.95
    assert 0.0 <= card.scores["dev_calibration_error"] < 0.1


def test_the_temperature_is_one_that_16_bits_hold(
    measured: tuple[Measurements, Evaluation],
) -> None:
    temperature = measured[0].temperature
    assert torch.tensor(temperature).half().item() == temperature
    assert temperature > 0


def test_what_weights_started_from_is_credited_first_and_nothing_twice() -> None:
    text, letters = (
        TrainingData(name="text", licence="CC0"),
        TrainingData(name="letters", licence="CC0", n_words=5),
    )
    again = replace(letters, n_words=9)
    assert joined_credits((), (letters,)) == (letters,)
    assert joined_credits((text,), (letters,)) == (text, letters)
    assert joined_credits((text, letters), (again,)) == (text, again)

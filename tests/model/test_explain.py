"""What a plan asks, put together, against asking the network one thing at a time; and its picture.

The oracle leaves a word out of the list of words, and sums over all paths of tags that have the
span."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.errors import FileError, TextError
from teddy.model.features.rows import UNKNOWN_WORD
from teddy.model.predictor import Predictor, load
from teddy.model.reasons.explanation import ReadWord
from teddy.model.reasons.picture import draw
from teddy.model.reasons.questions import Question
from teddy.model.tags.spans import Span
from teddy.model.text.documents import Entity

TEXT = "Anna Berg went to Oslo.\n\nIn Ghent, Otto Lind met Mira."


def emissions_of(predictor: Predictor, words: list[str], hidden: int | None = None) -> torch.Tensor:
    """The emissions of one sentence [words, tags], at the model's temperature; one word may be the
    unknown word."""
    rows = [list(predictor.tagger.features.rows(word)) for word in words]
    if hidden is not None:
        rows[hidden] = [UNKNOWN_WORD]
    starts = np.cumsum([0, *map(len, rows[:-1])])
    network: Any = predictor.tagger.network
    with torch.inference_mode():
        vectors = network.word_vectors(
            torch.tensor([row for each in rows for row in each]), torch.from_numpy(starts)
        )
        order, length = torch.arange(len(words)).unsqueeze(0), torch.tensor([len(words)])
        scores = network._emissions(vectors, order, length)[0].double()
        cool: torch.Tensor = scores / network.crf.temperature.double()
    return cool


def cooled(predictor: Predictor) -> list[torch.Tensor]:
    """The scores of transitions, first and last tags, at the model's temperature."""
    crf = predictor.tagger.network.crf  # type: ignore[attr-defined]
    return [each.detach() / crf.temperature.double() for each in crf.potentials()]


def probability(predictor: Predictor, emissions: torch.Tensor, span: Span) -> float:
    """The probability of a span in one sentence, by one sum over the paths that have it and one
    over all."""
    tag_set = predictor.tagger.tag_set
    transition, first, last = cooled(predictor)

    def log_sum(allowed: list[list[int]]) -> torch.Tensor:
        total = (first + emissions[0])[allowed[0]]
        for before, tags, scores in zip(allowed, allowed[1:], emissions[1:], strict=False):
            steps = transition[before][:, tags]
            total = torch.logsumexp(total.unsqueeze(1) + steps, dim=0) + scores[tags]
        return torch.logsumexp(total + last[allowed[-1]], dim=0)

    every = [list(range(len(tag_set.tags)))] * len(emissions)
    spelt = tag_set.encode([Span(0, span.end - span.start, span.label)], span.end - span.start)
    fixed = [*every[: span.start], *([tag] for tag in spelt), *every[span.end :]]
    return float((log_sum(fixed) - log_sum(every)).exp())


@pytest.mark.parametrize("spans", [None, [(0, 4, "PER"), (0, 9, "LOC"), (25, 33, "LOC")]])
def test_each_number_is_that_of_the_sentence_without_the_word(
    tiny_predictor: Predictor, spans: list[tuple[int, int, str]] | None
) -> None:
    found = tiny_predictor.explain(TEXT, spans=spans)
    assert len(found.entities) == (len(spans) if spans else len(tiny_predictor.tag([TEXT])[0]))
    for each in found.entities:
        assert each.sentence is not None
        sentence = found.sentences[each.sentence]
        words = [word.text for word in sentence.words]
        start = [word.start for word in sentence.words].index(each.entity.start)
        end = [word.end for word in sentence.words].index(each.entity.end) + 1
        label = each.entity.label

        def ask(words: list[str], start: int, end: int, hidden: int | None = None) -> float:
            emissions = emissions_of(tiny_predictor, words, hidden)
            return probability(tiny_predictor, emissions, Span(start, end, label))  # noqa: B023

        wanted = [
            ask(words, start, end, hidden=i)
            if start <= i < end
            else ask([*words[:i], *words[i + 1 :]], start - (i < start), end - (i < start))
            for i in range(len(words))
        ]
        assert each.without == pytest.approx(wanted, abs=1e-6)
        assert each.probability == pytest.approx(ask(words, start, end), abs=1e-6)
        assert each.entity.score == pytest.approx(each.probability, abs=1e-6)
        assert each.left_only == pytest.approx(ask(words[:end], start, end), abs=1e-6)
        assert each.right_only == pytest.approx(ask(words[start:], 0, end - start), abs=1e-6)
        assert each.alone == pytest.approx(ask(words[start:end], 0, end - start), abs=1e-6)
        assert each.gives == [(each.probability or 0.0) - without for without in each.without]


def test_the_readings_are_the_best_of_all_paths(tiny_predictor: Predictor) -> None:
    words = ["Mira", "met", "Anna", "Berg"]
    (sentence,) = tiny_predictor.explain(words).sentences
    emissions = emissions_of(tiny_predictor, words).numpy()
    transition, first, last = (each.numpy() for each in cooled(tiny_predictor))
    tag_set = tiny_predictor.tagger.tag_set
    paths = np.array(list(product(range(len(tag_set.tags)), repeat=len(words))))
    scores = first[paths[:, 0]] + last[paths[:, -1]]
    scores += emissions[np.arange(len(words)), paths].sum(axis=1)
    scores += transition[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    probabilities = np.exp(scores - np.logaddexp.reduce(scores))
    best = np.argsort(-probabilities, kind="stable")[:3]
    assert [each.probability for each in sentence.readings] == pytest.approx(probabilities[best])
    for reading, path in zip(sentence.readings, paths[best].tolist(), strict=True):
        spans = [Span(each.start, each.end, each.label) for each in reading.entities]
        assert spans == tag_set.decode(path)


@settings(max_examples=15, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(
            [
                "Anna",
                "Oslo",
                " ",
                " in ",
                "\n\n",
                ".",
                "🐻",
                "é",
                "\u0301",
                "\u05d0\u05d1",
                "中",
                "\t",
            ]
        ),
        max_size=16,
    ).map("".join)
)
def test_offsets_are_exact_and_a_batch_changes_nothing(
    tiny_predictor: Predictor, text: str
) -> None:
    found = tiny_predictor.explain(text)
    ranged: list[Entity | ReadWord] = [each.entity for each in found.entities]
    ranged += [word for each in found.sentences for word in each.words]
    assert all(text[place.start : place.end] == place.text for place in ranged)
    for entity, wanted in zip(found.entities, tiny_predictor.tag([text])[0], strict=True):
        assert entity.entity == wanted
    plan = tiny_predictor.reasons.plan(
        tiny_predictor.prepare(text), [each.entity for each in found.entities]
    )
    together = tiny_predictor.reasons.answer(plan.questions)
    assert sum(each.n_words for each in plan.questions) <= plan.cost
    for question, answer in list(zip(plan.questions, together, strict=True))[::7]:
        (alone,) = tiny_predictor.reasons.answer([question])
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-6)


def test_a_span_that_the_network_cannot_find_has_no_reasons(tiny_predictor: Predictor) -> None:
    document = tiny_predictor.prepare(TEXT)
    strange = [
        Entity(0, 4, "GENE", 0.5, "Anna"),  # not its label
        Entity(1, 4, "PER", 0.5, "nna"),  # not of whole words
        Entity(18, 27, "LOC", 0.5, "Oslo.\n\nIn"),  # across sentences
    ]
    plan = tiny_predictor.reasons.plan(document, strange)
    for each in plan.explain(tiny_predictor.reasons.answer(plan.questions)).entities:
        assert (each.sentence, each.probability, each.without) == (None, None, [])
    for bad in strange:
        with pytest.raises(TextError, match=r"spans\[1\]"):
            tiny_predictor.explain(TEXT, spans=[(0, 4, "PER"), (bad.start, bad.end, bad.label)])


def test_a_long_sentence_is_explained_in_its_windows(tiny_predictor: Predictor) -> None:
    words = ["Mira", "and", "Oslo"] * 20  # of at most 24 in a window
    found = tiny_predictor.explain(words)
    assert (found.sentences[0].start, found.sentences[0].end) == (0, 24)
    assert len(found.entities) == len(tiny_predictor.tag([words])[0])
    for each in found.entities:
        assert each.sentence is not None
        sentence = found.sentences[each.sentence]
        assert sentence.start <= each.entity.start < each.entity.end <= sentence.end
        assert len(each.without) == len(sentence.words)


def test_words_are_known_that_have_a_row(tiny_predictor: Predictor) -> None:
    features = tiny_predictor.tagger.features
    known = features.words[0] if features.words else "zyx"
    (sentence,) = tiny_predictor.explain([known, "Zyxxyz"]).sentences
    assert [word.known for word in sentence.words] == [bool(features.words), False]


def test_an_onnx_file_explains_as_the_file_that_it_was_made_from(
    tiny_model: Path, tiny_predictor: Predictor, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    from teddy.model.file.bundle import read_bundle
    from teddy.training.export.onnx_tagger import to_onnx

    path = tmp_path / "tiny.onnx"
    path.write_bytes(to_onnx(read_bundle(tiny_model)))
    onnx = load(path)
    for scores, wanted in zip(cooled(onnx), cooled(tiny_predictor), strict=True):
        torch.testing.assert_close(scores, wanted)
    (found,) = onnx.tag([TEXT], threshold=0.01)
    (same_found,) = tiny_predictor.tag([TEXT], threshold=0.01)
    assert [each.text for each in found] == [each.text for each in same_found]
    for each, same in zip(
        onnx.explain(TEXT).entities, tiny_predictor.explain(TEXT).entities, strict=True
    ):
        assert each.without == pytest.approx(same.without, abs=1e-4)


def test_eight_bits_answer_too(tiny_model: Path) -> None:
    question = Question(words=["Anna", "Berg"], spans=[Span(0, 2, "PER")], n_readings=1)
    (answer,) = load(tiny_model, precision="int8").reasons.answer([question])
    assert answer.readings[0].spans == [Span(0, 2, "PER")]
    assert answer.probabilities[0] > 0.5


# The picture and the command.


@pytest.mark.parametrize(
    "text", ["Anna Berg went to Oslo.", "Mira <b>&\x0c]]> 🐻 \u202e\u05d0\u05d1 in Oslo " * 9]
)
def test_a_picture_is_small_xml_with_every_word_of_the_sentence(
    tiny_predictor: Predictor, tmp_path: Path, text: str
) -> None:
    found = tiny_predictor.explain(text)
    entity = found.entities[0]
    draw([(found, entity), (found, found.entities[-1])], tmp_path / "why.svg")
    content = (tmp_path / "why.svg").read_bytes()
    drawn = ElementTree.fromstring(content)  # noqa: S314
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert entity.sentence is not None
    assert {word.text for word in found.sentences[entity.sentence].words} <= set(texts)
    assert len(content) < 60_000
    draw([(found, entity)], tmp_path / "why.png")
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileError, match="ends in"):
        draw([(found, entity)], tmp_path / "why.gif")


def test_the_command_shows_draws_and_answers(
    tiny_model: Path, shell: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    texts = ("Mira went to Oslo.", "Nobody was there.", "")
    code, shown, _ = shell("explain", "--model", tiny_model, *texts)
    assert code == 0
    assert "Oslo  LOC" in shown
    assert "readings" in shown
    assert "Nothing is found. The likeliest:" in shown
    assert shown.endswith("Nothing is found.\n")
    code, answered, _ = shell("explain", "--json", "--model", tiny_model, texts[0])
    assert json.loads(answered)["entities"][0]["text"] == "Mira"
    picture = tmp_path / "why.svg"
    assert shell("explain", "--picture", picture, "--model", tiny_model, *texts)[0] == 0
    assert picture.exists()

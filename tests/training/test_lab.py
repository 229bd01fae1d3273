"""The laboratory: its arithmetic against autograd and slow loops, and every experiment, tiny."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch.nn import functional

from teddy.model.config import CellName, NetworkConfig
from teddy.model.network.cells import make_recurrence
from teddy.model.network.encoder import Encoder
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.training.evaluation.evaluate import ScoredSpan, evaluate
from teddy.training.lab import backward, language, memory
from teddy.training.lab.agreement import WORDS, Reader, make_sentences
from teddy.training.lab.corpus import (
    Material,
    mirrored,
    open_material,
    score,
    telling_sentences,
    train_tagger,
)
from teddy.training.lab.lab_command import ExperimentName, run_experiment
from teddy.training.lab.page import Measured, Plan, differs
from teddy.training.lab.steps import trace
from teddy.training.lab.stream import LiveTagger, Lookahead, look_ahead, tag_greedily

TINY = Plan("tiny")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return open_material(None, Path(), tmp_path_factory.mktemp("lab"), "tiny")


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_backward_equations_are_what_autograd_does(name: backward.Name, seed: int) -> None:
    gaps = backward.compare(name, seed, n_words=40, width=12)
    assert set(gaps) >= {"h'", "x", "W", "U", "b", *backward.EQUATIONS[name]}
    assert max(gaps.values()) < 1e-10


@pytest.mark.parametrize("cell", get_args(CellName))
def test_a_layer_read_step_by_step_has_the_states_that_it_has_at_once(cell: CellName) -> None:
    torch.manual_seed(1)
    layer = make_recurrence(cell, 5, 7)
    with torch.no_grad():
        for each in layer.parameters():
            each.add_(0.1 * torch.randn(each.shape))
        x = torch.randn(9, 3, 5)
        found = trace(layer, x)
        torch.testing.assert_close(torch.stack(found.hidden), layer(x))
        cells = [torch.zeros(3, 7), *found.cell]
        for gates, before, after in zip(found.gates, cells, cells[1:], strict=False):
            if gates:
                # what is not kept of the old cell comes from a new value between -1 and 1
                new = (after - gates["keep"] * before) / gates["update"]
                assert new.abs().max() <= 1 + 1e-4


def test_the_gradient_by_a_state_is_the_product_of_the_steps_behind_it() -> None:
    torch.manual_seed(1)
    reader = Reader("rnn")
    words, verbs = make_sentences(3, 1, torch.Generator().manual_seed(1))
    norms = memory.gradient_norms(reader, gap=3, n=1)
    states = trace(reader.recurrence, reader.embedding(words)).hidden
    weights = reader.recurrence.get_submodule("layer").get_parameter("weight_hh_l0").detach()
    scores = reader.verb(states[-1]).detach().softmax(dim=1)
    gradient = (scores - functional.one_hot(verbs, 2)) @ reader.verb.weight.detach()
    for state, norm in zip(reversed(states), reversed(norms), strict=True):
        assert norm == pytest.approx(gradient.norm().item(), rel=1e-4)
        gradient = (gradient * (1 - state.detach() ** 2)) @ weights


def test_the_rate_of_an_exponential_is_its_factor() -> None:
    assert memory.rate([3 * 0.8**back for back in range(20, -1, -1)]) == pytest.approx(0.8)
    assert memory.rate([0.0, 0.0, 4.0, 2.0, 1.0]) == pytest.approx(2.0)
    assert memory.rate([0.0, 1.0]) == 0.0


def test_a_cell_is_above_chance_where_its_whole_interval_is() -> None:
    sure, split = Measured((0.9, 0.91, 0.92)), Measured((0.4, 0.9, 0.6))
    assert memory.last_above_chance((1, 5, 20), [sure, sure, split]) == 5
    assert memory.last_above_chance((1, 5, 20), [split, split, split]) == 0


def test_the_interval_of_three_values_is_that_of_student() -> None:
    found = Measured((1.0, 2.0, 3.0))
    assert found.mean == 2.0
    assert found.margin == pytest.approx(4.303 / 3**0.5)
    assert not differs(found, Measured((1.1, 1.8, 3.2)))
    assert differs(found, Measured((2.0, 3.1, 4.0)))


@pytest.mark.parametrize("gap", [1, 3, 12])
def test_the_verb_follows_the_first_noun_which_is_the_gap_away(gap: int) -> None:
    words, verbs = make_sentences(gap, 50, torch.Generator().manual_seed(gap))
    assert words.shape == (gap + 2, 50)
    plural = [WORDS[noun] in ("cats", "dogs", "bears", "children") for noun in words[1].tolist()]
    assert plural == verbs.bool().tolist()


def test_the_names_of_the_made_up_corpus_do_not_tell_what_they_are() -> None:
    labels: dict[str, set[str]] = {}
    for _, text, span in telling_sentences(600, seed=1):
        labels.setdefault(text.split()[span.start], set()).add(span.label)
    assert len(labels) == 4
    assert set(map(frozenset, labels.values())) == {frozenset(("PER", "TOY"))}


def test_a_sentence_mirrored_twice_is_itself(material: Material) -> None:
    for sentence in material.dev:
        assert mirrored(mirrored(sentence)) == sentence
        for span, old in zip(mirrored(sentence).spans, sentence.spans[::-1], strict=True):
            words = mirrored(sentence).words[span.start : span.end]
            assert words[::-1] == sentence.words[old.start : old.end]


def test_scores_are_those_of_an_evaluation_and_kinds_add_up(material: Material) -> None:
    trial = train_tagger(material, material.network, seed=1)
    for sample in (material, replace(material, is_made_up=False)):
        counts = score(sample, trial.predict)
        scored = evaluate(
            lambda sentences: [[*map(ScoredSpan, s)] for s in trial.predict(sentences)], sample.dev
        )
        assert counts["all"] == scored.scores.micro
        kinds = [each for kind, each in counts.items() if kind != "all"]
        assert sum(each.gold for each in kinds) == counts["all"].gold
        assert sum(each.predicted for each in kinds) == counts["all"].predicted


@pytest.mark.parametrize("n_ahead", [0, 2])
def test_an_encoder_that_looks_ahead_has_the_states_of_so_many_words_behind(n_ahead: int) -> None:
    torch.manual_seed(1)
    config = NetworkConfig(embedding_width=4, hidden_width=6, layers=2, bidirectional=False)
    ahead = Lookahead(config, n_ahead).eval()
    plain = Encoder(config).eval()
    plain.load_state_dict(ahead.state_dict())
    values, lengths = torch.randn(3, 7, 4), torch.tensor([7, 4, 1])
    found = ahead(values, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = torch.cat((values[row, :length], torch.zeros(n_ahead, 4))).unsqueeze(0)
        states = plain(alone, torch.tensor([length + n_ahead]))[0]
        expected = torch.cat([states[k : length + k] for k in range(n_ahead + 1)], dim=1)
        torch.testing.assert_close(found[row, :length], expected)


@pytest.mark.parametrize("n_ahead", [0, 1, 5])
def test_a_live_tagger_gives_the_tags_of_whole_sentences(material: Material, n_ahead: int) -> None:
    torch.manual_seed(2)
    config = replace(material.network, bidirectional=False, decoder="softmax", layers=2)
    tag_set = TagSet(material.labels)
    network = Network(config, material.features.n_rows, tag_set)
    look_ahead(network, config, n_ahead)
    torch.nn.init.normal_(network.embedding)
    network.eval()
    sentences = [("Hi",), ("He", "said"), *(sentence.words for sentence in material.dev[:6])]
    expected = tag_greedily(network, material.features, tag_set, sentences)
    for words, spans in zip(sentences, expected, strict=True):
        live = LiveTagger(network, material.features, tag_set, n_ahead)
        tags = [live.add(word) for word in words]
        assert tags[:n_ahead] == [None] * min(n_ahead, len(words))
        whole = [tag for tag in tags if tag is not None] + live.finish()
        assert len(whole) == len(words)
        assert tag_set.decode(whole) == spans


@pytest.mark.parametrize("again", [0, 2, 99])
def test_reading_again_tags_a_word_by_what_was_said_so_far(material: Material, again: int) -> None:
    torch.manual_seed(3)
    config = replace(material.network, decoder="softmax")
    tag_set = TagSet(material.labels)
    network = Network(config, material.features.n_rows, tag_set).eval()
    torch.nn.init.normal_(network.embedding)
    sentences = [sentence.words for sentence in material.dev[:4]]
    found = tag_greedily(network, material.features, tag_set, sentences, again)
    if again == 99:
        assert found == tag_greedily(network, material.features, tag_set, sentences)
    for words, spans in zip(sentences, found, strict=True):
        for place in range(len(words)):
            heard = words[: place + 1 + again]
            (early,) = tag_greedily(network, material.features, tag_set, [heard], again)
            assert [s for s in early if s.end <= place] == [s for s in spans if s.end <= place]


@pytest.mark.parametrize("kind", get_args(language.UnitName))
def test_units_are_the_text_again_and_rare_ones_are_replaced(kind: language.UnitName) -> None:
    draw = random.Random(1)  # noqa: S311
    texts = [" ".join(language.write_sentence(4, draw)) for _ in range(300)]
    units = language.Units(kind, texts)
    common = next(text for text in texts if language.UNKNOWN not in units.encode(text))
    assert units.decode(units.encode(common), draw) == common
    assert units.rare
    replaced = units.decode([language.UNKNOWN], draw)
    assert replaced in {name.replace("▁", " ").strip() for name in units.rare}


@pytest.mark.parametrize("name", get_args(ExperimentName))
def test_every_experiment_runs_tiny_and_says_what_it_found(
    name: ExperimentName, tmp_path: Path
) -> None:
    page = run_experiment(name, TINY, None, Path(), tmp_path)
    fields = json.loads(page.as_json())
    assert fields["experiment"] == name
    assert fields["findings"]
    assert page.figures
    if name == "backward":
        # Drawing a page takes longer than a tiny experiment, and is the same code for each.
        html = page.write(tmp_path).read_text()
        assert json.loads((tmp_path / f"{name}.json").read_text()) == fields
        assert html.count("<svg") == len(page.figures)
        assert "<h1>" in html
        assert (tmp_path / f"{name}.png").stat().st_size < 60_000


def test_an_experiment_takes_a_corpus_where_it_can(
    tiny_data: Path, tmp_path: Path, shell: Callable[..., tuple[int, str, str]]
) -> None:
    given = open_material(tiny_data / "tiny.toml", tiny_data, tmp_path, "tiny")
    assert (given.name, given.labels) == ("tiny", ("PER", "LOC"))
    assert {given.kind_of(each, span) for each in given.dev for span in each.spans} <= {
        "nothing before it",
        "between words",
        "at most a word after it",
    }
    code, _, error = shell("lab", "memory", tiny_data / "tiny.toml")
    assert code == 2
    assert "made-up sentences alone" in error

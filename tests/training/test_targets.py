"""The tags that a training sentence allows, against a slow reading of the rules; their purpose."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.tags.spans import Scheme, Span, read_tags, write_tags
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.data.vocabulary import train_pieces
from teddy.training.evaluation.measurements import evaluate_dev
from teddy.training.learning.batches import Sharder, Targets
from teddy.training.learning.distributed.process_group import SINGLE_PROCESS
from teddy.training.learning.torch_setup import seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import TrainingConfig
from teddy.training.recipe.sections import AugmentConfig
from teddy.training.recipe.words import PiecesConfig

LABELS = ("PER", "LOC", "ORG")
TAG_SET = TagSet(LABELS)


def make_sentence(
    words: list[str],
    spans: list[Span],
    unknown: list[tuple[int, int]] | None = None,
    corpus: str = "made-up",
) -> Sentence:
    offsets, start = [], 0
    for word in words:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return Sentence(
        words=tuple(words),
        offsets=tuple(offsets),
        spans=tuple(spans),
        unknown=tuple(unknown or ()),
        misaligned=(),
        corpus=corpus,
        text=" ".join(words),
        path="made-up.conll",
        line=1,
        tokeniser=Tokeniser(),
    )


@st.composite
def sentences(draw: st.DrawFn, *, with_unknown: bool = True) -> Sentence:
    """Spans as any tags spell them, and ranges of unknown words, which may overlap them."""
    tags = draw(st.lists(st.sampled_from(TAG_SET.tags), min_size=1, max_size=12))
    borders = sorted(draw(st.sets(st.integers(0, len(tags)), max_size=4))) if with_unknown else []
    unknown = [(start, end) for start, end in zip(borders[::2], borders[1::2], strict=False)]
    return make_sentence(["word"] * len(tags), read_tags(tags, Scheme.BIOES), unknown)


ANNOTATED = st.sets(st.sampled_from(LABELS))


def slow_allowed(sentence: Sentence, annotates: set[str]) -> list[set[str]]:
    """The names of the tags that each word may have, one word after another."""
    gold = write_tags(sentence.spans, len(sentence.words), Scheme.BIOES)
    allowed = []
    for position, tag in enumerate(gold):
        if any(start <= position < end for start, end in sentence.unknown):
            allowed.append(set(TAG_SET.tags))
        elif tag != "O":
            allowed.append({tag})
        else:
            allowed.append({"O"} | {each for each in TAG_SET.tags[1:] if each[2:] not in annotates})
    return allowed


@given(sentences(), ANNOTATED)
def test_allowed_tags_are_what_the_rules_say_word_by_word(
    sentence: Sentence, annotates: set[str]
) -> None:
    allowed = Targets(TAG_SET, annotates).allowed(sentence)
    names = [{TAG_SET.tags[tag] for tag in np.flatnonzero(row)} for row in allowed]
    assert names == slow_allowed(sentence, annotates)


@given(sentences(with_unknown=False))
def test_when_everything_is_annotated_there_is_one_tag_for_each_word_and_it_is_the_gold_tag(
    sentence: Sentence,
) -> None:
    allowed = Targets(TAG_SET, LABELS).allowed(sentence)
    assert (allowed.sum(axis=1) == 1).all()
    assert allowed.argmax(axis=1).tolist() == TAG_SET.encode(sentence.spans, len(sentence.words))


@given(sentences(), ANNOTATED, ANNOTATED)
def test_annotating_more_labels_never_allows_more(
    sentence: Sentence, some: set[str], others: set[str]
) -> None:
    fewer, more = Targets(TAG_SET, some), Targets(TAG_SET, some | others)
    assert (more.allowed(sentence) <= fewer.allowed(sentence)).all()


@given(sentences(), ANNOTATED)
def test_the_gold_tags_are_always_allowed_so_that_the_loss_is_finite(
    sentence: Sentence, annotates: set[str]
) -> None:
    allowed = Targets(TAG_SET, annotates).allowed(sentence)
    gold = TAG_SET.encode(sentence.spans, len(sentence.words))
    assert allowed[range(len(gold)), gold].all()
    network = Network(NetworkConfig(embedding_width=2, hidden_width=2), 4, TAG_SET)
    emissions = torch.randn(
        1, len(gold), len(TAG_SET.tags), generator=torch.Generator().manual_seed(1)
    )
    loss = network.crf.loss(
        emissions, torch.tensor([len(gold)]), torch.from_numpy(allowed).unsqueeze(0)
    )
    assert loss.isfinite().all()


@given(st.lists(sentences(), min_size=1, max_size=4), ANNOTATED)
def test_padding_allows_everything_and_leaves_the_words_as_they_are(
    group: list[Sentence], annotates: set[str]
) -> None:
    targets = Targets(TAG_SET, annotates)
    allowed = [targets.allowed(sentence) for sentence in group]
    features = WordFeatures(Pieces(train_pieces({"word": 9}, PiecesConfig())), FeatureConfig())
    sharder = Sharder(
        features=features,
        targets={"made-up": targets},
        config=TrainingConfig(),
        augmentation=AugmentConfig(),
        taught=False,
        seed=1,
        group=SINGLE_PROCESS,
    )
    padded = sharder.make_batch(group, [], epoch=0, step=0).micro_batches[0].batches[0].allowed
    assert padded is not None
    assert padded.shape == (len(group), max(map(len, allowed)), len(TAG_SET.tags))
    for row, each in zip(padded, allowed, strict=True):
        assert np.array_equal(row[: len(each)].numpy(), each)
        assert bool(row[len(each) :].all())


# What it is for: a corpus without LOC must not teach LOC away.

PEOPLE = ("Anna", "Otto", "Mira", "Jonas", "Ida", "Teddy")
PLACES = ("Oslo", "Lund", "Ghent", "Bergen", "Turku", "Riga")
FULL = ("PER lives in LOC .", "from LOC came PER .")
PARTIAL = ("PER ( LOC ) won .", "PER flew home to LOC .")


def write(
    patterns: tuple[str, ...], labels: set[str], corpus: str, n_sentences: int, seed: int
) -> list[Sentence]:
    """Sentences from the patterns, in which only the entities of `labels` are annotated."""
    draw = np.random.default_rng(seed)
    written = []
    for _ in range(n_sentences):
        words, spans = [], []
        for place, slot in enumerate(str(draw.choice(patterns)).split()):
            names = {"PER": PEOPLE, "LOC": PLACES}.get(slot)
            words.append(str(draw.choice(names)) if names else slot)
            if slot in labels:
                spans.append(Span(place, place + 1, slot))
        written.append(make_sentence(words, spans, corpus=corpus))
    return written


def loc_recall(partial_annotates: set[str], seed: int) -> float:
    """Train on both corpora; return the places found in sentences like the partial one's."""
    labels = {"PER", "LOC"}
    dev = write(PARTIAL, labels, "dev", 40, seed + 100)
    full = Corpus(
        name="full",
        licence="CC0",
        source="",
        annotates=frozenset(labels),
        weight=1.0,
        train=write(FULL, labels, "full", 60, seed),
        dev=dev,
    )
    partial = replace(
        full,
        name="partial",
        annotates=frozenset(partial_annotates),
        train=write(PARTIAL, {"PER"}, "partial", 60, seed + 1),
        dev=[],
    )
    seed_torch(seed)
    tag_set = TagSet(("PER", "LOC"))
    pieces = train_pieces(
        (word for each in (*full.train, *partial.train) for word in each.words), PiecesConfig()
    )
    features = WordFeatures(Pieces(pieces), FeatureConfig(shape_rows=16, affix_rows=128))
    network = Network(
        NetworkConfig(embedding_width=12, hidden_width=8, layers=1), features.n_rows, tag_set
    )
    config = TrainingConfig(
        epochs=6,
        batch_words=60,
        learning_rate=0.03,
        average_decay=0.0,
        mixed_precision="fp32",
        threads=1,
    )
    trainer = Trainer(
        network, features, tag_set, [full, partial], config, seed=seed, device=torch.device("cpu")
    )
    for _ in trainer.run():
        pass
    return evaluate_dev(trainer.tagger, [full], worst=0).scores.by_label["LOC"].recall


@pytest.mark.parametrize("seed", [1, 2])
def test_a_corpus_that_does_not_annotate_a_label_does_not_teach_it_away(seed: int) -> None:
    naive, set_valued = loc_recall({"PER", "LOC"}, seed), loc_recall({"PER"}, seed)
    assert naive < 0.5 < set_valued

"""What is measured of a trained tagger before it is exported: scores, temperature, how dev data look to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import TypeAdapter

from teddy.model.bundle import TrainingData
from teddy.model.features import WordFeatures
from teddy.model.labels import TagSet
from teddy.model.network import Network
from teddy.model.reference import AnyReference
from teddy.model.tagger import TaggedWords, Tagger
from teddy.training.calibrate import fit_temperature
from teddy.training.config import ExportConfig
from teddy.training.corpus.align import Sentence
from teddy.training.corpus.corpora import Corpus
from teddy.training.evaluate import Evaluation, Predict, ScoredSpan, evaluate, surfaces
from teddy.training.reference import measure_reference
from teddy.training.robustness import measure_robustness


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All that a model file says of its network besides its shape."""

    temperature: float
    scores: dict[str, Any]
    training_data: tuple[TrainingData, ...]
    reference: AnyReference
    halved: bool = False
    """Whether the weights are rounded to 16 bits, and stored so."""

    def as_json(self) -> str:
        """For a checkpoint; `read_card` reads it."""
        return _CARD.dump_json(self).decode()


_CARD = TypeAdapter(Card)


def read_card(text: str) -> Card:
    """The card that `Card.as_json` wrote."""
    return _CARD.validate_json(text)


def dev_sentences(corpora: Sequence[Corpus]) -> list[Sentence]:
    """The dev sentences of all corpora, in order."""
    return [sentence for corpus in corpora for sentence in corpus.dev]


def annotated_labels(corpora: Sequence[Corpus]) -> dict[str, frozenset[str]]:
    """For each corpus, by name, the labels that it annotates."""
    return {corpus.name: corpus.annotates for corpus in corpora}


def evaluate_dev(tagger: Tagger, corpora: Sequence[Corpus], *, worst: int = 20) -> Evaluation:
    """Evaluates on all dev sentences, with the tagger's own scores for the spans."""
    return evaluate(
        _prediction(tagger),
        dev_sentences(corpora),
        annotated_labels(corpora),
        labels=tagger.tag_set.labels,
        seen=_seen(corpora) if worst else None,
        worst=worst,
    )


def _seen(corpora: Sequence[Corpus]) -> set[str]:
    """The surfaces of training entities, those of them that dev could have: no memory is wasted on the others."""
    dev = dev_sentences(corpora)
    known = {word for sentence in dev for word in sentence.words}
    known.update(word for each in dev for span in each.misaligned for word in each.text[span.start : span.end].split())
    seen: set[str] = set()
    for corpus in corpora:
        for sentence in corpus.train:
            seen.update(surface for surface in surfaces([sentence]) if known.issuperset(surface.split(" ")))
    return seen


def _prediction(tagger: Tagger) -> Predict:
    return lambda sentences: [_scored(tagged) for tagged in tagger.tag(sentences)]


def _scored(tagged: TaggedWords) -> list[ScoredSpan]:
    return [ScoredSpan(span, score) for span, score in zip(tagged.spans, tagged.scores, strict=True)]


def make_card(
    network: Network, features: WordFeatures, tag_set: TagSet, corpora: Sequence[Corpus], windows: ExportConfig
) -> tuple[Card, Evaluation]:
    """Fits the network's temperature, in place, and measures it on dev; `windows` are those of the model file."""
    annotated = annotated_labels(corpora)
    dev = dev_sentences(corpora)
    temperature = fit_temperature(network, features, tag_set, [(each, annotated[each.corpus]) for each in dev])
    # Rounded to what 16 bits can hold, as the weights may be.
    network.crf.temperature.fill_(torch.tensor(temperature).half())
    tagger = Tagger(network, features, tag_set)
    evaluation = evaluate_dev(tagger, corpora)
    robustness = measure_robustness(_prediction(tagger), dev, annotated, labels=tag_set.labels)
    scores = {
        "dev": evaluation.scores.as_dict(),
        "dev_by_corpus": {name: each.micro.as_dict() for name, each in evaluation.by_corpus.items()},
        "dev_conlleval_f1": evaluation.conlleval.spans.micro.f1,
        "dev_calibration_error": evaluation.calibration.error,
        "dev_calibration": evaluation.calibration_fields(),
        "dev_labels_by_corpus": {name: each.as_dict()["labels"] for name, each in evaluation.by_corpus.items()},
        "dev_by_length": {name: counts.as_dict() for name, counts in evaluation.by_length.items()},
        "dev_by_surface": {name: counts.as_dict() for name, counts in evaluation.by_surface.items()},
        "dev_robustness": {name: each.counts.as_dict() for name, each in robustness.by_perturbation.items()},
    }
    card = Card(
        temperature=network.crf.temperature.item(),
        scores=scores,
        training_data=tuple(_credit(corpus) for corpus in corpora if corpus.train),
        reference=measure_reference(tagger, [sentence.text for sentence in dev], windows),
    )
    return card, evaluation


def joined_credits(inherited: Sequence[TrainingData], own: Sequence[TrainingData]) -> tuple[TrainingData, ...]:
    """All that weights were learnt from: before this run, and in it. A corpus that was read in both is listed once."""
    names = {(each.name, each.source) for each in own}
    return (*(each for each in inherited if (each.name, each.source) not in names), *own)


def _credit(corpus: Corpus) -> TrainingData:
    return TrainingData(
        name=corpus.name,
        licence=corpus.licence,
        source=corpus.source,
        n_sentences=len(corpus.train),
        n_words=corpus.n_train_words,
    )

"""Measurements of a trained tagger on dev: while it learns, before export, and as it is served."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from teddy.model.drift.profile import Profiler
from teddy.model.drift.reference import AnyReference, Reference
from teddy.model.features.batching import Batch, make_batch
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData
from teddy.model.network.tagger_network import Network
from teddy.model.predictor import Predictor
from teddy.model.tagger import TaggedWords, Tagger
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.documents import assemble, prepare
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.data.source import plan_epoch
from teddy.training.evaluation.calibrate import fit_temperature
from teddy.training.evaluation.evaluate import Evaluation, Predict, ScoredSpan, evaluate, surfaces
from teddy.training.evaluation.robustness import measure_robustness
from teddy.training.evaluation.scores import Counts
from teddy.training.learning.batches import Targets
from teddy.training.learning.distributed.process_group import ProcessGroup
from teddy.training.recipe.recipe import ExportConfig

_BATCH_WORDS = 4096


def measure_reference(tagger: Tagger, texts: Iterable[str], windows: ExportConfig) -> Reference:
    """Count texts as a server reads them: cut, tagged and put together."""
    documents = [prepare(text, windows.window_words, windows.window_overlap) for text in texts]
    outputs = iter(
        tagger.tag([window.words for document in documents for window in document.windows])
    )
    profiler = Profiler(tagger.tag_set.labels, tagger.features.pieces)
    sums = profiler.sums()
    for document in documents:
        tagged = assemble(
            document, list(islice(outputs, len(document.windows))), tagger.tag_set.tags
        )
        profiler.add(sums, profiler.count(document, tagged))
    return profiler.summary(sums)


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
    """Return the card that `Card.as_json` wrote."""
    return _CARD.validate_json(text)


def dev_sentences(corpora: Sequence[Corpus]) -> list[Sentence]:
    """Return the dev sentences of all corpora, in order."""
    return [sentence for corpus in corpora for sentence in corpus.dev]


def annotated_labels(corpora: Sequence[Corpus]) -> dict[str, frozenset[str]]:
    """For each corpus, by name, the labels that it annotates."""
    return {corpus.name: corpus.annotates for corpus in corpora}


def evaluate_dev(tagger: Tagger, corpora: Sequence[Corpus], *, worst: int = 20) -> Evaluation:
    """Evaluate on all dev sentences, with the tagger's own scores for the spans."""
    return evaluate(
        _prediction(tagger),
        dev_sentences(corpora),
        annotated_labels(corpora),
        labels=tagger.tag_set.labels,
        seen=_seen(corpora) if worst else None,
        worst=worst,
    )


def _seen(corpora: Sequence[Corpus]) -> set[str]:
    """Return the surfaces of training entities that dev may have; the others would cost memory."""
    dev = dev_sentences(corpora)
    known = {word for sentence in dev for word in sentence.words}
    known.update(
        word
        for each in dev
        for span in each.misaligned
        for word in each.text[span.start : span.end].split()
    )
    seen: set[str] = set()
    for corpus in corpora:
        for sentence in corpus.train:
            seen.update(
                surface for surface in surfaces([sentence]) if known.issuperset(surface.split(" "))
            )
    return seen


def _prediction(tagger: Tagger) -> Predict:
    return lambda sentences: [_scored(tagged) for tagged in tagger.tag(sentences)]


def _scored(tagged: TaggedWords) -> list[ScoredSpan]:
    return [
        ScoredSpan(span, score) for span, score in zip(tagged.spans, tagged.scores, strict=True)
    ]


def make_card(
    network: Network,
    features: WordFeatures,
    tag_set: TagSet,
    corpora: Sequence[Corpus],
    windows: ExportConfig,
) -> tuple[Card, Evaluation]:
    """Fit the network's temperature, in place, and measure on dev with its `windows`."""
    annotated = annotated_labels(corpora)
    dev = dev_sentences(corpora)
    temperature = fit_temperature(
        network, features, tag_set, [(each, annotated[each.corpus]) for each in dev]
    )
    # Rounded to what 16 bits can hold, as the weights may be.
    network.crf.temperature.fill_(torch.tensor(temperature).half())
    tagger = Tagger(network, features, tag_set)
    evaluation = evaluate_dev(tagger, corpora)
    robustness = measure_robustness(_prediction(tagger), dev, annotated, labels=tag_set.labels)
    scores = {
        "dev": evaluation.scores.as_dict(),
        "dev_by_corpus": {
            name: each.micro.as_dict() for name, each in evaluation.by_corpus.items()
        },
        "dev_conlleval_f1": evaluation.conlleval.spans.micro.f1,
        "dev_calibration_error": evaluation.calibration.error,
        "dev_calibration": evaluation.calibration_fields(),
        "dev_labels_by_corpus": {
            name: each.as_dict()["labels"] for name, each in evaluation.by_corpus.items()
        },
        "dev_by_length": {name: counts.as_dict() for name, counts in evaluation.by_length.items()},
        "dev_by_surface": {
            name: counts.as_dict() for name, counts in evaluation.by_surface.items()
        },
        "dev_robustness": {
            name: each.counts.as_dict() for name, each in robustness.by_perturbation.items()
        },
    }
    card = Card(
        temperature=network.crf.temperature.item(),
        scores=scores,
        training_data=tuple(_credit(corpus) for corpus in corpora if corpus.train),
        reference=measure_reference(tagger, [sentence.text for sentence in dev], windows),
    )
    return card, evaluation


def joined_credits(
    inherited: Sequence[TrainingData], own: Sequence[TrainingData]
) -> tuple[TrainingData, ...]:
    """All that weights were learnt from: before this run, and in it.

    A corpus that was read in both is listed once.
    """
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


@dataclass(frozen=True, slots=True)
class DevScores:
    """Strict counts of spans, and the mean loss for each word, in nats."""

    counts: Counts
    loss: float


def score_dev(
    network: Network,
    tagger: Tagger,
    corpora: Sequence[Corpus],
    targets: Mapping[str, Targets],
    emissions: Callable[[Network, Batch], Tensor],
    device: torch.device,
    group: ProcessGroup,
) -> DevScores:
    """Return the scores of a network, read with `tagger`, on the dev sentences of all corpora.

    Collective.
    """
    own = [replace(corpus, dev=corpus.dev[group.rank :: group.size]) for corpus in corpora]
    found = evaluate_dev(tagger, own, worst=0).scores.micro
    loss, n_words = 0.0, 0
    for corpus in own:
        for members in plan_epoch(
            [len(s.words) for s in corpus.dev], [1.0] * len(corpus.dev), _BATCH_WORDS, 0, 0
        ):
            sentences = [corpus.dev[i] for i in members]
            batch = make_batch([sentence.words for sentence in sentences], tagger.features)
            rows = [torch.from_numpy(targets[corpus.name].allowed(each)) for each in sentences]
            allowed = pad_sequence(rows, batch_first=True, padding_value=True).to(device)
            n_words += int(batch.lengths.sum())
            batch = batch.to(device)
            with torch.inference_mode():
                loss += (
                    network.crf.loss(emissions(network, batch), batch.lengths, allowed).sum().item()
                )
    sums = torch.tensor(
        [found.gold, found.predicted, found.correct, n_words, loss], dtype=torch.float64
    )
    gold, predicted, correct, n_words, loss = group.sum(sums).tolist()
    return DevScores(Counts(int(gold), int(predicted), int(correct)), loss / max(n_words, 1))


def prediction(predictor: Predictor) -> Predict:
    """Return a loaded model as `teddy.training.evaluation.evaluate` wants one."""

    def predict(sentences: Sequence[Sequence[str]]) -> list[list[ScoredSpan]]:
        outputs = predictor.tagger.tag(sentences)
        return [[*map(ScoredSpan, output.spans, output.scores)] for output in outputs]

    return predict


def evaluate_served(
    predictor: Predictor, corpora: Sequence[Corpus], labels: Sequence[str] = ()
) -> Evaluation:
    """Measure a loaded model on dev sentences; `labels` are gold labels that it lacks."""
    known = predictor.manifest.labels
    return evaluate(
        prediction(predictor),
        [sentence for corpus in corpora for sentence in corpus.dev],
        {corpus.name: corpus.annotates for corpus in corpora},
        labels=(*known, *(label for label in labels if label not in known)),
        worst=0,
    )

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
from teddy.model.file.bundle import AppliedRule, TrainingData
from teddy.model.network.tagger_network import Network
from teddy.model.tagger import Tagger
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.documents import assemble, prepare
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.data.source import plan_epoch
from teddy.training.evaluation.calibrate import fit_temperature
from teddy.training.evaluation.evaluate import Evaluation, Predict, ScoredSpan, evaluate, surfaces
from teddy.training.evaluation.robustness import measure_robustness
from teddy.training.evaluation.scores import Counts, as_dicts
from teddy.training.learning.batches import Targets
from teddy.training.learning.distributed.process_group import ProcessGroup
from teddy.training.recipe.recipe import ExportConfig

_BATCH_WORDS = 4096


def measure_reference(
    tagger: Tagger, texts: Iterable[str], tokeniser: Tokeniser, windows: ExportConfig
) -> Reference:
    """Count texts as a server reads them: cut, tagged and put together."""
    settings = windows.window_words, windows.window_overlap, windows.sentences
    documents = [prepare(text, tokeniser, *settings) for text in texts]
    words = [window.words for document in documents for window in document.windows]
    outputs = iter(tagger.tag(words))
    profiler = Profiler(tagger.tag_set.labels, tagger.features.pieces)
    sums = profiler.sums()
    for document in documents:
        own = list(islice(outputs, len(document.windows)))
        tagged = assemble(document, own, tagger.tag_set.tags)
        profiler.add(sums, profiler.count(document, tagged))
    return profiler.summary(sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All that a model file says of its network besides its shape."""

    temperature: float
    scores: dict[str, Any]
    training_data: tuple[TrainingData, ...]
    reference: AnyReference
    rules: tuple[AppliedRule, ...] = ()
    halved: bool = False
    """Whether the weights are rounded to 16 bits, and stored so."""

    def as_json(self) -> str:
        """Return JSON for a checkpoint, which `read_measurements` reads."""
        return _MEASUREMENTS.dump_json(self).decode()


_MEASUREMENTS = TypeAdapter(Measurements)


def read_measurements(text: str) -> Measurements:
    """Return what `Measurements.as_json` wrote."""
    return _MEASUREMENTS.validate_json(text)


def dev_sentences(corpora: Sequence[Corpus]) -> list[Sentence]:
    """Return the dev sentences of all corpora, in order."""
    return [sentence for corpus in corpora for sentence in corpus.dev]


def annotated_labels(corpora: Sequence[Corpus]) -> dict[str, frozenset[str]]:
    """Return, for each corpus by its name, the labels that it annotates."""
    return {corpus.name: corpus.annotates for corpus in corpora}


def prediction(tagger: Tagger) -> Predict:
    """Return a tagger as `teddy.training.evaluation.evaluate` wants one."""
    return lambda sentences: [
        [*map(ScoredSpan, tagged.spans, tagged.scores)] for tagged in tagger.tag(sentences)
    ]


def evaluate_dev(
    tagger: Tagger,
    corpora: Sequence[Corpus],
    *,
    trained_on: Sequence[Corpus] | None = None,
    labels: Sequence[str] = (),
    worst: int = 20,
    predict: Predict | None = None,
) -> Evaluation:
    """Evaluate on all dev sentences, with the tagger's own scores for the spans.

    Args:
        tagger: what to evaluate.
        corpora: those with the dev sentences.
        trained_on: those whose training entities count as seen; None for `corpora`.
        labels: gold labels, some of which the tagger may lack.
        worst: as of `evaluate`; with 0, seen entities are not told from unseen ones either.
        predict: what is evaluated instead of the tagger alone.
    """
    trained_on = corpora if trained_on is None else trained_on
    return evaluate(
        predict or prediction(tagger),
        dev_sentences(corpora),
        annotated_labels(corpora),
        labels=dict.fromkeys((*tagger.tag_set.labels, *labels)),
        seen=_seen(corpora, trained_on) if worst and any(c.train for c in trained_on) else None,
        worst=worst,
    )


def _seen(corpora: Sequence[Corpus], trained_on: Sequence[Corpus]) -> set[str]:
    """Return the surfaces of training entities that dev may have; the others would cost memory."""
    known: set[str] = set()
    for sentence in dev_sentences(corpora):
        known.update(sentence.words)
        for span in sentence.misaligned:
            known.update(sentence.text[span.start : span.end].split())
    return {
        surface
        for corpus in trained_on
        for sentence in corpus.train
        for surface in surfaces([sentence])
        if known.issuperset(surface.split(" "))
    }


def measure_on_dev(
    network: Network,
    features: WordFeatures,
    tag_set: TagSet,
    corpora: Sequence[Corpus],
    windows: ExportConfig,
) -> tuple[Measurements, Evaluation]:
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
    robustness = measure_robustness(prediction(tagger), dev, annotated, labels=tag_set.labels)
    by_corpus = as_dicts(evaluation.by_corpus)
    scores = {
        "dev": evaluation.scores.as_dict(),
        "dev_by_corpus": {name: each["micro"] for name, each in by_corpus.items()},
        "dev_conlleval_f1": evaluation.conlleval.spans.micro.f1,
        "dev_calibration_error": evaluation.calibration.error,
        "dev_calibration": evaluation.calibration_fields(),
        "dev_labels_by_corpus": {name: each["labels"] for name, each in by_corpus.items()},
        "dev_by_length": as_dicts(evaluation.by_length),
        "dev_by_surface": as_dicts(evaluation.by_surface),
        "dev_robustness": {
            name: each.counts.as_dict() for name, each in robustness.by_perturbation.items()
        },
    }
    measurements = Measurements(
        temperature=network.crf.temperature.item(),
        scores=scores,
        training_data=tuple(
            TrainingData(
                name=corpus.name,
                licence=corpus.licence,
                source=corpus.source,
                n_sentences=len(corpus.train),
                n_words=corpus.n_train_words,
            )
            for corpus in corpora
            if corpus.train
        ),
        reference=measure_reference(
            tagger, [sentence.text for sentence in dev], dev[0].tokeniser, windows
        ),
        rules=tuple(rule for corpus in corpora for rule in corpus.rules),
    )
    return measurements, evaluation


def joined_credits(
    inherited: Sequence[TrainingData], own: Sequence[TrainingData]
) -> tuple[TrainingData, ...]:
    """Return all that weights were learnt from, before this run and in it, each corpus once."""
    names = {(each.name, each.source) for each in own}
    return (*(each for each in inherited if (each.name, each.source) not in names), *own)


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
        lengths = [len(sentence.words) for sentence in corpus.dev]
        for members in plan_epoch(lengths, [1.0] * len(lengths), _BATCH_WORDS, 0, 0):
            sentences = [corpus.dev[i] for i in members]
            batch = make_batch([sentence.words for sentence in sentences], tagger.features)
            rows = [torch.from_numpy(targets[corpus.name].allowed(each)) for each in sentences]
            allowed = pad_sequence(rows, batch_first=True, padding_value=True)
            n_words += int(batch.lengths.sum())
            batch, allowed = batch.to(device), allowed.to(device)
            with torch.inference_mode():
                losses = network.crf.loss(emissions(network, batch), batch.lengths, allowed)
                loss += losses.sum().item()
    sums = torch.tensor(
        [found.gold, found.predicted, found.correct, n_words, loss], dtype=torch.float64
    )
    gold, predicted, correct, n_words, loss = group.sum(sums).tolist()
    return DevScores(Counts(int(gold), int(predicted), int(correct)), loss / max(n_words, 1))

"""What a run says before its first update: its corpora, its size, and what will go wrong."""

from collections.abc import Iterator

from teddy.training.data.corpora import Corpus
from teddy.training.run_setup import RunSetup


def introduce(setup: RunSetup) -> Iterator[str]:
    """Yield lines on what the run learns from, and warnings with their cures."""
    trainer, misaligned = setup.trainer, setup.misaligned
    for corpus in setup.corpora:
        yield (
            f"{corpus.name}: {len(corpus.train):,} sentences, {corpus.n_train_words:,} words to "
            f"train on; {len(corpus.dev):,} dev sentences"
        )
    n_parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    yield (
        f"{n_parameters:,} parameters, {trainer.features.n_rows:,} feature rows, "
        f"on {trainer.device}"
    )
    yield from map(_rules_applied, (corpus for corpus in setup.corpora if corpus.rules))
    if misaligned.n_fitted:
        yield f"{misaligned.n_fitted:,} gold spans are read with other borders: misaligned.txt"
    if misaligned.n_spans:
        yield (
            f"{misaligned.n_spans:,} gold spans cannot be expressed in words, listed in "
            "misaligned.txt: not trained on, and missed when they are in dev"
        )
    if trainer.distillation is not None:
        yield trainer.distillation.summary
    if trainer.position.step:
        yield f"resuming after step {trainer.position.step:,}"
    if setup.stored.exists():
        yield f"too many sentences for memory, shuffled by the windowful: {setup.stored}"
    for corpus in setup.corpora:
        if corpus.n_dropped:
            yield (
                f"{corpus.name}: {corpus.n_dropped:,} held-out sentences are more than memory "
                "should hold, and neither learnt from nor measured on: a smaller holdout would do"
            )
    yield from map(str, setup.fitted)
    yield from setup.notes
    yield from _warnings(setup)


def _rules_applied(corpus: Corpus) -> str:
    """Return a line on the rules of a corpus; each by itself is in `teddy check` and the card."""
    n_train, n_dev = (
        sum(getattr(rule, part) for rule in corpus.rules) for part in ("n_train", "n_dev")
    )
    return f"{corpus.name}: rules changed {n_train:,} spans in train and {n_dev:,} in dev"


def _warnings(setup: RunSetup) -> Iterator[str]:
    """Yield what will make little of the training data, and its cure."""
    recipe, trainer = setup.recipe, setup.trainer
    for label in setup.unseen_labels:
        yield (
            f"warning: label {label!r} has no example in the training data and cannot be learnt: "
            "add some, map a label of the files to it, or leave it out of labels"
        )
    for config, corpus in zip(recipe.corpus, setup.corpora, strict=True):
        if config.holdout > 0.5:
            yield (
                f"warning: {corpus.name}: holdout = {config.holdout:g} leaves "
                f"{len(corpus.train):,} sentences to train on, and holds out {len(corpus.dev):,}: "
                "0.1 would do"
            )
    if len(trainer.source.epoch(0)) == 1:
        yield (
            "warning: an epoch is one update: more training data, or a smaller "
            f"training.batch_words than {recipe.training.batch_words:,}, would teach more"
        )

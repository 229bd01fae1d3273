"""Texts in, entities out: a loaded model.

`tag` does all for a list of texts. A server does it step by step: it prepares and assembles each
text alone, and predicts windows of many texts together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from pickle import PicklingError
from typing import Self

from teddy.model.file.bundle import Manifest
from teddy.model.reasons.explanation import Explanation
from teddy.model.reasons.plan import Reasons
from teddy.model.rules.only import NoTagger
from teddy.model.rules.ruled import apply_rules, check_hints, ruled_steps
from teddy.model.rules.rules import Rules
from teddy.model.system.memory import collector_paused
from teddy.model.tagger import TaggedWords, Tagger
from teddy.model.tags.search import Search, Threshold
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.alternatives import with_alternatives
from teddy.model.text.documents import (
    Document,
    Entities,
    Entity,
    SentenceReadings,
    Tagged,
    assemble,
    prepare,
)
from teddy.model.text.sentences import SENTENCE_MODES, SentenceMode
from teddy.model.text.windows import Window
from teddy.model.text.words import Text, Tokeniser

_CHARACTERS_AT_ONCE = 300_000
"""The text that `tag` works on at a time: enough to sort by length well, in little memory."""


class Predictor:
    """A model that is loaded and has passed its canary. Safe to use from several threads."""

    def __init__(self, manifest: Manifest, version: str, precision: str, tagger: Tagger) -> None:
        self.manifest = manifest
        self.version = version
        self.precision = precision
        self.tagger = tagger
        self.path: Path | None = None
        """The file that it was loaded from: a pickled predictor is loaded from there again."""
        self.tokeniser = Tokeniser(manifest.tokeniser_version, manifest.language)
        """It splits texts into the words that the model has learnt."""
        self.prepare = partial(
            prepare,
            tokeniser=self.tokeniser,
            max_words=manifest.window_words,
            overlap=manifest.window_overlap,
            sentences=manifest.sentences,
        )
        """Cut a text into words and windows; see `teddy.model.text.documents.prepare`."""
        self.reasons = Reasons(tagger, manifest.labels)
        self.assemble: partial[Tagged] = partial(assemble, tag_names=tagger.tag_set.tags)
        """Put the results of a document's windows together; see `documents.assemble`."""
        self.load_again: Callable[..., Predictor] | None = None
        """What loads it in another process; `load` sets it."""
        self.rules: Rules | None = None
        """The rules in force."""

    def predict(self, windows: Sequence[Window], search: Search | None = None) -> list[TaggedWords]:
        """Run the network: one result for each window, which does not depend on the others."""
        hints = {k: window.hints for k, window in enumerate(windows) if window.hints}
        return self.tagger.tag([window.words for window in windows], search, hints)

    def search(self, threshold: Threshold | None = None, n_best: int = 0) -> Search | None:
        """Return what to look for beyond the best path. Raises ValueError."""
        return Search.of(self.manifest.labels, threshold, n_best)

    def searching(self, search: Search) -> "Prediction":
        """Return `predict` with this search."""
        return Prediction(self, search)

    def finish(
        self, document: Document, outputs: Sequence[TaggedWords], search: Search, tagged: Tagged
    ) -> Tagged:
        """Return what `assemble` made of a document with what its windows were searched for.

        Rules take and give way as they do to the best path; hints do not change readings.
        """
        probable = search.thresholds is not None
        if self.rules is None:
            return with_alternatives(document, outputs, tagged, probable=probable)
        plain = assemble(document, outputs, self.tagger.tag_set.tags)
        found = with_alternatives(document, outputs, plain, probable=probable)
        return apply_rules(document, found, TagSet(self.labels), self.rules)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all entities: the model's, and behind them those of the rules."""
        own = self.rules.labels if self.rules else ()
        return tuple(dict.fromkeys((*self.manifest.labels, *own)))

    @property
    def hinted_labels(self) -> tuple[str, ...]:
        """The labels that the network can be hinted at: its own or, of an ONNX file, none."""
        return self.manifest.labels if self.tagger.takes_hints else ()

    def with_rules(self, rules: Rules | None) -> Self:
        """Return this predictor with other rules, or without; both share the network.

        The rules must have been loaded for its `tokeniser`. Raises RulesError for hints that the
        model cannot take.
        """
        made = object.__new__(type(self))  # copy() would load it again, as pickle does
        made.__dict__.update(self.__dict__)
        cut = {k: v for k, v in self.prepare.keywords.items() if k not in ("rules", "labels")}
        if rules is None:
            made.prepare = partial(prepare, **cut)
            made.assemble = partial(assemble, tag_names=self.tagger.tag_set.tags)
        else:
            if isinstance(self.tagger, NoTagger):
                made.version = rules.version
            check_hints(rules, self.manifest.labels, taken=self.tagger.takes_hints)
            made.rules = rules
            made.prepare, made.assemble = ruled_steps(rules, self.hinted_labels, made.labels, cut)
        made.rules = rules
        return made

    @property
    def sentences(self) -> SentenceMode:
        """How texts are cut into sentences: as `load` was asked, or as the model file says."""
        mode: SentenceMode = self.prepare.keywords["sentences"]
        return mode

    def cut_by(self, sentences: SentenceMode | None) -> partial[Document]:
        """Return `prepare` with another way to find sentences; None: the predictor's own.

        Raises ValueError for an unknown one.
        """
        if sentences is None:
            return self.prepare
        if sentences not in SENTENCE_MODES:
            known = " or ".join(SENTENCE_MODES)
            raise ValueError(f"sentences must be {known}, not {sentences}")
        return partial(self.prepare, sentences=sentences)

    def tag_documents(
        self,
        texts: Iterable[Text],
        *,
        sentences: SentenceMode | None = None,
        threshold: Threshold | None = None,
        n_best: int = 0,
    ) -> Iterator[Tagged]:
        """Yield one result for each text, in order; memory does not grow with their number.

        A text may be given as a sequence of words; then its offsets are in words. `sentences` and
        `threshold` as in `tag`, `n_best` as in `readings`.
        """
        search = self.search(threshold, n_best) if threshold is not None or n_best else None
        pending = _texts_of(texts)
        cut = self.prepare if sentences is None else self.cut_by(sentences)
        while taken := _take(pending):
            with collector_paused():  # nothing here makes cycles
                documents = [cut(text) for text in taken]
                windows = [window for document in documents for window in document.windows]
                outputs = iter(self.predict(windows, search))
                tagged = [
                    self._assembled(each, list(islice(outputs, len(each.windows))), search)
                    for each in documents
                ]
            yield from tagged

    def _assembled(
        self, document: Document, outputs: list[TaggedWords], search: Search | None
    ) -> Tagged:
        tagged = self.assemble(document, outputs)
        return tagged if search is None else self.finish(document, outputs, search, tagged)

    def tag(
        self,
        texts: Iterable[Text],
        *,
        sentences: SentenceMode | None = None,
        threshold: Threshold | None = None,
    ) -> list[Entities]:
        """Return the entities of each text; of one that is given as words, with offsets in words.

        `sentences`: `lines` where each line of a text is one sentence, `document` to find them;
        None: as the predictor was loaded. Given words are one sentence in any case.

        `threshold`: every span of at least this probability, also those off the best path; a number
        from 0.0001 to 1, or one for each label, 0.5 for those that are not named. Of spans that
        overlap, those are taken whose scores have the largest sum.

        Raises TextError for a lone surrogate or an empty word, TypeError for what is not a text,
        and ValueError for an unknown way to find sentences, an unknown label or a threshold out of
        range.
        """
        found = self.tag_documents(texts, sentences=sentences, threshold=threshold)
        return [tagged.entities for tagged in found]

    def readings(
        self, texts: Iterable[Text], n: int = 3, *, sentences: SentenceMode | None = None
    ) -> list[list[SentenceReadings]]:
        """Return, for each text, the `n` most probable readings of each sentence, the best first.

        A reading is all entities of the sentence; its probability is that of just these. A sentence
        longer than the model's windows has readings of each window. Raises as `tag`.
        """
        found = self.tag_documents(texts, sentences=sentences, n_best=n)
        return [list(tagged.sentences) for tagged in found]

    def tag_sentences(
        self, sentences: Sequence[Sequence[str]], *, threshold: Threshold | None = None
    ) -> list[list[Span]]:
        """Return the spans, in words, of sentences that are already cut into words.

        `threshold` as in `tag`. Raises as `tag`, and TypeError for a sentence that is a text.
        """
        if any(isinstance(words, str) for words in sentences):
            raise TypeError("sentences must be sequences of words; give a text to tag")
        return [
            [Span(each.start, each.end, each.label) for each in entities]
            for entities in self.tag(sentences, threshold=threshold)
        ]

    def explain(
        self,
        text: Text,
        *,
        spans: Sequence[tuple[int, int, str]] | None = None,
        sentences: SentenceMode | None = None,
    ) -> Explanation:
        """Return the entities of a text, each with its reasons; or those of `spans` instead.

        `spans` are (start, end, label), found or not; `sentences` as in `tag`. See
        `teddy.model.reasons.plan`. Raises as `tag`, and TextError for a span that is not of
        whole words in one sentence, or of another label.
        """
        entities = self.tag([text], sentences=sentences)[0] if spans is None else None
        plan = self.reasons.plan(self.cut_by(sentences)(text), entities, spans or ())
        return plan.explain(self.reasons.answer(plan.questions))

    def passes_canary(self) -> bool:
        """Tell whether each canary text, alone and in a batch, gives the entities of its export."""
        texts = [canary.text for canary in self.manifest.canary]
        wanted = [
            [(each.start, each.end, each.label) for each in canary.entities]
            for canary in self.manifest.canary
        ]
        return _found(self.tag(texts)) == wanted == _found([self.tag([text])[0] for text in texts])

    def __reduce__(self) -> tuple[object, ...]:
        if self.path is None or self.load_again is None:
            raise PicklingError("a Predictor that was not loaded from a file cannot be pickled")
        rules = self.rules and self.rules.path.absolute()
        rules = None if rules == self.path else rules
        return self.load_again, (self.path, self.precision, self.version, self.sentences, rules)


@dataclass(frozen=True, slots=True)
class Prediction:
    """`Predictor.predict` with a search. Equal ones can share batches."""

    predictor: Predictor
    search: Search

    def __call__(self, windows: Sequence[Window]) -> list[TaggedWords]:
        """Run the network."""
        return self.predictor.predict(windows, self.search)


def _texts_of(texts: Iterable[Text]) -> Iterator[Text]:
    """Yield the texts. Raises TypeError, which names the place of what is not one."""
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise TypeError(f"texts must be a sequence of texts, not {kind}; give one text as [text]")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            _check_types(text, f"texts[{position}]")
        yield text


def _check_types(words: object, name: str) -> None:
    """Raise TypeError for what is neither a text nor a sequence of words."""
    if isinstance(words, bytes) or not isinstance(words, Sequence):
        raise TypeError(f"{name} is not a text but {type(words).__name__}")
    for position, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"{name}[{position}] is not a word but {type(word).__name__}")


def _take(texts: Iterator[Text]) -> list[Text]:
    """Take the next texts, of about `_CHARACTERS_AT_ONCE` together; an empty one counts too."""
    taken: list[Text] = []
    size = 0
    for text in texts:
        taken.append(text)
        size += 1 + (len(text) if isinstance(text, str) else sum(map(len, text)))
        if size >= _CHARACTERS_AT_ONCE:
            break
    return taken


def _found(tagged: Iterable[list[Entity]]) -> list[list[tuple[int, int, str]]]:
    return [[(each.start, each.end, each.label) for each in entities] for entities in tagged]

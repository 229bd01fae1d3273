"""Texts in, entities out: a loaded model.

    text --prepare--> Document (words, windows) --predict--> TaggedWords for each window --assemble--> Tagged

`tag` does all three. A server calls them one by one: preparing and assembling belong to one text, and predicting
takes windows of many texts at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from model.bundle import Bundle, Manifest, read_bundle
from model.errors import ModelFileError
from model.features import WordFeatures
from model.labels import TagSet
from model.pieces import Pieces
from model.precision import PRECISIONS, candidates, fastest, load_network
from model.sentences import split_sentences
from model.spans import Span
from model.tagger import TaggedWords, Tagger
from model.text import TOKENISER_VERSION, check_text, tokenise
from model.windows import Window, split_windows

SHIPPED_MODEL = Path(__file__).parent / "pretrained" / "en.teddy"
"""The model that comes with Teddy."""

_WORDS_AT_ONCE = 50_000
"""`tag` works through so many words at a time: enough to sort by length well, little memory."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A labelled stretch of a text: characters `[start, end)`, and `text` is just those. `score` is its probability."""

    start: int
    end: int
    label: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """A word, its BIOES tag and the tag's probability. Offsets in characters."""

    start: int
    end: int
    tag: str
    score: float


@dataclass(frozen=True, slots=True)
class Tagged:
    """What was found in one text: entities in order, none overlapping, and every word."""

    entities: list[Entity]
    tokens: list[Token]


@dataclass(frozen=True, slots=True)
class WindowInput:
    """The words of one window."""

    words: list[str]

    @property
    def n_words(self) -> int:
        """What it costs to predict."""
        return len(self.words)


@dataclass(frozen=True, slots=True)
class Document:
    """A text ready for the network: its words' character offsets, and its windows (in words) with their inputs."""

    text: str
    offsets: list[tuple[int, int]]
    places: list[Window]
    windows: list[WindowInput]


class Predictor:
    """A model that is loaded and has passed its canary. Safe to use from several threads."""

    def __init__(self, manifest: Manifest, version: str, precision: str, tagger: Tagger) -> None:
        self.manifest = manifest
        self.version = version
        self.precision = precision
        self._tagger = tagger

    def prepare(self, text: str) -> Document:
        """Cuts a text into words and windows. Raises TextError for a lone surrogate."""
        check_text(text)
        offsets = tokenise(text)
        words = [text[start:end] for start, end in offsets]
        sentences = split_sentences(text, offsets)
        places = split_windows(sentences, self.manifest.window_words, self.manifest.window_overlap)
        return Document(text, offsets, places, [WindowInput(words[place.start : place.end]) for place in places])

    def predict(self, windows: Sequence[WindowInput]) -> list[TaggedWords]:
        """Runs the network: one result for each window, in order, the same whatever else is among them."""
        return self._tagger.tag([window.words for window in windows])

    def assemble(self, document: Document, outputs: Sequence[TaggedWords]) -> Tagged:
        """Puts the results of a document's windows together.

        An entity is taken from the window that keeps its first word, whole even where it runs on into the next
        window's words, so that no entity is cut at a window's border.
        """
        entities: list[Entity] = []
        tokens: list[Token] = []
        for place, output in zip(document.places, outputs, strict=True):
            settled, end, headless = len(tokens), place.keep_end, 0
            for span, score in zip(output.spans, output.scores, strict=True):
                first, last = place.start + span.start, place.start + span.end
                if first < settled:
                    # An earlier window had the say over its first word, and did not find it or found another.
                    headless = max(headless, last)
                elif first < place.keep_end:
                    start, stop = document.offsets[first][0], document.offsets[last - 1][1]
                    entities.append(Entity(start, stop, span.label, score, document.text[start:stop]))
                    end = max(end, last)
            tokens += self._tokens(document, place, output, range(settled, min(headless, end)), headless=True)
            tokens += self._tokens(document, place, output, range(len(tokens), end), headless=False)
        return Tagged(entities, tokens)

    def _tokens(
        self, document: Document, place: Window, output: TaggedWords, words: range, *, headless: bool
    ) -> Iterator[Token]:
        """What a window says of some words of the document; `headless` ones are no part of the entity it saw there."""
        names = self._tagger.tag_set.tags
        for word in words:
            start, end = document.offsets[word]
            tag, score = output.tags[word - place.start], output.tag_scores[word - place.start]
            yield Token(start, end, names[0], 1.0 - score) if headless else Token(start, end, names[tag], score)

    def tag_documents(self, texts: Iterable[str]) -> Iterator[Tagged]:
        """One result for each text, in order, read and given as they come: memory does not grow with their number."""
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of texts; give one text as [text]")
        pending = iter(texts)
        while documents := self._take(pending):
            outputs = iter(self.predict([window for document in documents for window in document.windows]))
            for document in documents:
                yield self.assemble(document, list(islice(outputs, len(document.windows))))

    def _take(self, texts: Iterator[str]) -> list[Document]:
        """The next documents, of about `_WORDS_AT_ONCE` words together."""
        documents: list[Document] = []
        n_words = 0
        for text in texts:
            documents.append(self.prepare(text))
            n_words += 1 + len(documents[-1].offsets)
            if n_words >= _WORDS_AT_ONCE:
                break
        return documents

    def tag(self, texts: Iterable[str]) -> list[list[Entity]]:
        """The entities of each text. Raises TextError for a text with a lone surrogate."""
        return [tagged.entities for tagged in self.tag_documents(texts)]

    def tag_sentences(self, sentences: Sequence[Sequence[str]]) -> list[list[Span]]:
        """The spans, in words, of sentences that are cut into words already; they are neither cut nor joined here.

        Raises TextError for a word with a lone surrogate.
        """
        for words in sentences:
            if isinstance(words, str):
                raise TypeError("sentences must be sequences of words; give a text to tag")
            check_text(" ".join(words))
        return [tagged.spans for tagged in self._tagger.tag(sentences)]

    def passes_canary(self) -> bool:
        """Whether each canary text, alone and among the others, gives the entities that it gave on export."""
        texts = [canary.text for canary in self.manifest.canary]
        wanted = [[(each.start, each.end, each.label) for each in canary.entities] for canary in self.manifest.canary]
        return _found(self.tag(texts)) == wanted == _found([self.tag([text])[0] for text in texts])


def _found(tagged: Iterable[list[Entity]]) -> list[list[tuple[int, int, str]]]:
    return [[(entity.start, entity.end, entity.label) for entity in entities] for entities in tagged]


def load(path: str | Path | None = None, *, precision: str = "auto") -> Predictor:
    """Loads a model file, or the one that ships with Teddy, and runs its canary.

    `precision` is `fp32`, `bf16`, `int8`, or `auto` for the faster of fp32 and, where the processor is made for it,
    bf16; each must give the canary's entities. With int8 results depend a little on what else is in the batch.

    Raises ModelFileError for a file that is foreign, damaged, of another version, or that fails its canary;
    ValueError for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision}")
    path = SHIPPED_MODEL if path is None else path
    bundle = read_bundle(path)
    if bundle.manifest.tokeniser_version != TOKENISER_VERSION:
        raise ModelFileError(
            path,
            f"made for words as tokeniser {bundle.manifest.tokeniser_version} cuts them, but this Teddy has "
            f"tokeniser {TOKENISER_VERSION}: train or export the model anew",
        )
    wanted = candidates() if precision == "auto" else (precision,)
    try:
        passing = [each for each in (make_predictor(bundle, one) for one in wanted) if each.passes_canary()]
    except (AttributeError, IndexError, RuntimeError, ValueError) as error:
        # The digest is right, so the file is as it was written, but what wrote it was not `teddy export`.
        reason = str(error).strip().rpartition("\n")[2]
        raise ModelFileError(path, f"its manifest, pieces and network do not fit together: {reason}") from error
    if not passing:
        raise ModelFileError(
            path, f"fails its canary in {' and '.join(wanted)}: it does not give the entities it gave on export"
        )
    canary = [text.text for text in bundle.manifest.canary]
    chosen = fastest([(each.precision, partial(each.tag, canary)) for each in passing])
    return next(each for each in passing if each.precision == chosen)


def make_predictor(bundle: Bundle, precision: str) -> Predictor:
    """A predictor that has not run its canary yet."""
    features = WordFeatures(Pieces(bundle.pieces), bundle.manifest.features, bundle.words)
    tagger = Tagger(load_network(bundle, precision), features, TagSet(bundle.manifest.labels))
    return Predictor(bundle.manifest, bundle.version, precision, tagger)

"""Texts in, entities out: a loaded model.

`tag` does all for a list of texts. A server does it step by step: it prepares and assembles each
text alone, and predicts windows of many texts together.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from pickle import PicklingError

from teddy.model.errors import ModelFileError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import Bundle, Manifest, read_bundle
from teddy.model.network.precision import (
    PRECISIONS,
    candidates,
    fastest,
    load_network,
    number_format,
    onnx_precisions,
)
from teddy.model.system.memory import bound_kernel_cache, collector_paused
from teddy.model.tagger import TaggedWords, Tagger, avoid_lost_threads
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.documents import Document, Entities, Tagged, Window, assemble, prepare
from teddy.model.text.sentences import SENTENCE_MODES, SentenceMode
from teddy.model.text.words import READABLE_VERSIONS, Text, Tokeniser

SHIPPED_MODEL = Path(__file__).parent / "pretrained" / "en.teddy"
"""The model that comes with Teddy."""

_CHARACTERS_TIMED = 10_000
"""The text that is timed to find the fastest precision: a batch or two."""
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
        self.assemble = partial(assemble, tag_names=tagger.tag_set.tags)
        """Put the results of a document's windows together; see `documents.assemble`."""

    def predict(self, windows: Sequence[Window]) -> list[TaggedWords]:
        """Run the network: one result for each window, which does not depend on the others."""
        return self.tagger.tag([window.words for window in windows])

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
        self, texts: Iterable[Text], *, sentences: SentenceMode | None = None
    ) -> Iterator[Tagged]:
        """Yield one result for each text, in order; memory does not grow with their number.

        A text may be given as a sequence of words; then its offsets are in words. `sentences` as in
        `tag`.
        """
        pending = _texts_of(texts)
        cut = self.prepare if sentences is None else self.cut_by(sentences)
        while taken := _take(pending):
            with collector_paused():  # nothing here makes cycles
                documents = [cut(text) for text in taken]
                outputs = iter(
                    self.predict([window for document in documents for window in document.windows])
                )
                tagged = [
                    self.assemble(each, list(islice(outputs, len(each.windows))))
                    for each in documents
                ]
            yield from tagged

    def tag(
        self, texts: Iterable[Text], *, sentences: SentenceMode | None = None
    ) -> list[Entities]:
        """Return the entities of each text; of one that is given as words, with offsets in words.

        `sentences`: `lines` where each line of a text is one sentence, `document` to find them;
        None: as the predictor was loaded. Given words are one sentence in any case.

        Raises TextError for a lone surrogate or an empty word, TypeError for what is not a text,
        and ValueError for an unknown way to find sentences.
        """
        return [tagged.entities for tagged in self.tag_documents(texts, sentences=sentences)]

    def tag_sentences(self, sentences: Sequence[Sequence[str]]) -> list[list[Span]]:
        """Return the spans, in words, of sentences that are already cut into words.

        Raises as `tag`, and TypeError for a sentence that is a text.
        """
        if any(isinstance(words, str) for words in sentences):
            raise TypeError("sentences must be sequences of words; give a text to tag")
        return [
            [Span(each.start, each.end, each.label) for each in entities]
            for entities in self.tag(sentences)
        ]

    def passes_canary(self) -> bool:
        """Tell whether each canary text, alone and in a batch, gives the entities of its export."""
        texts = [canary.text for canary in self.manifest.canary]
        wanted = [
            [(each.start, each.end, each.label) for each in canary.entities]
            for canary in self.manifest.canary
        ]
        return _found(self.tag(texts)) == wanted == _found([self.tag([text])[0] for text in texts])

    def __reduce__(self) -> tuple[object, ...]:
        if self.path is None:
            raise PicklingError("a Predictor that was not loaded from a file cannot be pickled")
        return _load_again, (self.path, self.precision, self.version, self.sentences)


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


def _found(tagged: Iterable[Entities]) -> list[list[tuple[int, int, str]]]:
    return [[(each.start, each.end, each.label) for each in entities] for entities in tagged]


def load(
    path: str | Path | None = None,
    *,
    precision: str = "auto",
    sha256: str | None = None,
    sentences: SentenceMode | None = None,
) -> Predictor:
    """Load a model file, or a model that ships with Teddy, by its name, and run its canary.

    `precision` is `fp32`, `bf16`, `int8`, or `auto`: the faster of fp32 and, where the processor
    multiplies in it, bf16. Each must give the canary's entities. With int8 results depend a little
    on what else is in the batch. An ONNX file runs in ONNX Runtime, in fp32 or int8; `auto` is
    fp32. `sha256` pins the whole file: no other is loaded or run. `sentences` is how texts are cut
    where a call does not say it: `document` or `lines`; None: as the model's recipe says.

    Raises ModelFileError when the file is foreign, damaged, of another version, or fails its
    canary; MissingExtraError for an ONNX file without `teddy[onnx]`; ValueError for an unknown
    precision or way to find sentences.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision}")
    bound_kernel_cache()
    path = _find(path)
    bundle = read_bundle(path, sha256=sha256)
    if bundle.manifest.tokeniser_version not in READABLE_VERSIONS:
        raise ModelFileError(
            path,
            f"made for tokeniser {bundle.manifest.tokeniser_version}, but this Teddy has those of "
            f"{READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}: install a newer one",
        )
    if bundle.format == "onnx":
        wanted = onnx_precisions(path, bundle.manifest.network, precision)
    else:
        wanted = candidates() if precision == "auto" else (precision,)
    try:
        passing = [
            each for each in (make_predictor(bundle, one) for one in wanted) if each.passes_canary()
        ]
    except (AttributeError, IndexError, RuntimeError, ValueError) as error:
        # The digest is right: the file is as it was written, but not by `teddy export`.
        reason = str(error).strip().rpartition("\n")[2]
        raise ModelFileError(
            path, f"its manifest, pieces and network do not fit together: {reason}"
        ) from error
    if not passing:
        raise ModelFileError(
            path,
            f"fails its canary in {' and '.join(wanted)}: its entities are not those of its export",
        )
    texts = [canary.text for canary in bundle.manifest.canary]
    # They are repeated to fill a batch: on one short text all precisions are about as fast.
    texts *= 1 + _CHARACTERS_TIMED // max(1, sum(map(len, texts)))
    chosen = fastest([(each.precision, partial(each.tag, texts)) for each in passing])
    predictor = next(each for each in passing if each.precision == chosen)
    predictor.prepare = predictor.cut_by(sentences)
    predictor.path = Path(path).absolute()
    return predictor


def _find(path: str | Path | None) -> str | Path:
    """Return the model file that is meant: a file goes before a name of a model that ships.

    Raises ModelFileError for what is neither.
    """
    if path is None:
        return SHIPPED_MODEL
    name = str(path)
    if Path(path).name != name or Path(path).suffix in (".teddy", ".onnx") or Path(path).exists():
        return path
    shipped = {each.stem: each for each in SHIPPED_MODEL.parent.glob("*.teddy")}
    if name not in shipped:
        known = ", ".join(sorted(shipped))
        raise ModelFileError(
            path, f"no such file, and no model of that name ships; there is {known}"
        )
    return shipped[name]


def _load_again(path: Path, precision: str, version: str, sentences: SentenceMode) -> Predictor:
    """Load what was pickled. Raises ModelFileError if another model is there now, and as `load`."""
    predictor = load(path, precision=precision, sentences=sentences)
    if predictor.version != version:
        raise ModelFileError(path, f"version {predictor.version} now; {version} was pickled")
    return predictor


def make_predictor(bundle: Bundle, precision: str) -> Predictor:
    """Make a predictor that has not run its canary yet."""
    avoid_lost_threads()
    features = WordFeatures(Pieces(bundle.pieces), bundle.manifest.features, bundle.words)
    network, tag_set = load_network(bundle, precision), TagSet(bundle.manifest.labels)
    tagger = Tagger(network, features, tag_set, number_format=number_format(precision))
    return Predictor(bundle.manifest, bundle.version, precision, tagger)

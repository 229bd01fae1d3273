"""Loading a model: from a file, by the name of one that ships, or rules alone."""

from functools import partial
from pathlib import Path

from teddy.model.errors import ModelFileError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import Bundle, read_bundle
from teddy.model.file.shipped import find_model
from teddy.model.network.precision import (
    PRECISIONS,
    candidates,
    fastest,
    load_network,
    number_format,
    onnx_precisions,
)
from teddy.model.prediction import Predictor
from teddy.model.rules.loading import load_rules
from teddy.model.rules.only import PRECISION as NO_PRECISION
from teddy.model.rules.only import SUFFIX as RULES_SUFFIX
from teddy.model.rules.only import NoTagger, manifest_of
from teddy.model.system.memory import bound_kernel_cache
from teddy.model.tagger import Tagger, avoid_lost_threads
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.sentences import SentenceMode
from teddy.model.text.words import READABLE_VERSIONS

__all__ = ["SHIPPED_MODEL", "Predictor", "load", "make_predictor"]

SHIPPED_MODEL = Path(__file__).parent / "pretrained" / "en.teddy"
"""The model that comes with Teddy."""

_CHARACTERS_TIMED = 10_000
"""The text that is timed to find the fastest precision: a batch or two."""


def load(
    path: str | Path | None = None,
    *,
    precision: str = "auto",
    sha256: str | None = None,
    sentences: SentenceMode | None = None,
    rules: str | Path | None = None,
) -> Predictor:
    """Load a model file, or a model that ships with Teddy, by its name, and run its canary.

    `precision` is `fp32`, `bf16`, `int8`, or `auto`: the faster of fp32 and, where the processor
    multiplies in it, bf16. Each must give the canary's entities. With int8 results depend a little
    on what else is in the batch. An ONNX file runs in ONNX Runtime, in fp32 or int8; `auto` is
    fp32. `sha256` pins the whole file: no other is loaded or run. `sentences` is how texts are cut
    where a call does not say it: `document` or `lines`; None: as the model's recipe says. `rules`
    is a file of rules (docs/rules.md); as the `path` itself, it is a tagger of rules alone.

    Raises ModelFileError when the file is foreign, damaged, of another version, or fails its
    canary; MissingExtraError for an ONNX file without `teddy[onnx]`, or rules without
    `teddy[rules]`; RulesError for rules that are refused; ValueError for an unknown precision or
    way to find sentences.
    """
    if path is not None and Path(path).suffix == RULES_SUFFIX:
        if sha256 is not None:
            raise ModelFileError(path, "rules cannot be pinned: only a model file can")
        return _load_rules_alone(Path(path), sentences)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision}")
    predictor = _load_network(find_model(path, SHIPPED_MODEL), precision, sha256)
    predictor.prepare = predictor.cut_by(sentences)
    if rules is None:
        return predictor
    return predictor.with_rules(load_rules(rules, predictor.tokeniser))


def _load_network(path: str | Path, precision: str, sha256: str | None) -> Predictor:
    """Load a model file, and choose among its precisions. Raises as `load`."""
    bound_kernel_cache()
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
    predictor.path, predictor.load_again = Path(path).absolute(), _load_again
    return predictor


def _load_rules_alone(path: Path, sentences: SentenceMode | None) -> Predictor:
    """Return a predictor that has rules and no network. Raises RulesError."""
    rules = load_rules(path)
    predictor = Predictor(manifest_of(rules), rules.version, NO_PRECISION, NoTagger())
    predictor.prepare = predictor.cut_by(sentences)
    predictor.path, predictor.load_again = path.absolute(), _load_again
    return predictor.with_rules(rules)


def _load_again(
    path: Path, precision: str, version: str, sentences: SentenceMode, rules: Path | None
) -> Predictor:
    """Load what was pickled. Raises ModelFileError if another model is there now, and as `load`."""
    predictor = load(path, precision=precision, sentences=sentences, rules=rules)
    if predictor.version != version:
        raise ModelFileError(path, f"version {predictor.version} now; {version} was pickled")
    return predictor


def make_predictor(bundle: Bundle, precision: str) -> Predictor:
    """Make a predictor that has not run its canary yet."""
    avoid_lost_threads()
    features = WordFeatures(
        Pieces(bundle.pieces), bundle.manifest.features, bundle.words, bundle.lexicon
    )
    network, tag_set = load_network(bundle, precision), TagSet(bundle.manifest.labels)
    tagger = Tagger(network, features, tag_set, number_format=number_format(precision))
    return Predictor(bundle.manifest, bundle.version, precision, tagger)

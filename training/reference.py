"""How dev data look to a tagger when they come as texts: what live texts are compared with."""

from collections.abc import Iterable
from itertools import islice

from teddy.model.documents import assemble, prepare
from teddy.model.profile import Profiler
from teddy.model.reference import Reference
from teddy.model.tagger import Tagger
from teddy.training.config import ExportConfig


def measure_reference(tagger: Tagger, texts: Iterable[str], windows: ExportConfig) -> Reference:
    """Counts texts on the way that they take through a server: cut, tagged and put together as there."""
    documents = [prepare(text, windows.window_words, windows.window_overlap) for text in texts]
    outputs = iter(tagger.tag([window.words for document in documents for window in document.windows]))
    profiler = Profiler(tagger.tag_set.labels, tagger.features.pieces)
    sums = profiler.sums()
    for document in documents:
        tagged = assemble(document, list(islice(outputs, len(document.windows))), tagger.tag_set.tags)
        profiler.add(sums, profiler.count(document, tagged))
    return profiler.summary(sums)

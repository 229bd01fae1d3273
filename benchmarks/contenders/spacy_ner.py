"""spaCy's entity recogniser in its CPU-efficient configuration, with random weights.

    python -m benchmarks.contenders.spacy_ner FOLDER LABEL...     # makes the model

The last layer starts at zero, so that no entity is ever found: what a trained one spends on making
spans is saved."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy

from benchmarks.contenders.contender import Entrant
from benchmarks.texts import count_words

BATCH_TEXTS = 256
CONFIGURATION: dict[str, Any] = {
    "model": {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 64,
        "maxout_pieces": 2,
        "use_upper": True,
        "nO": None,
        "tok2vec": {
            "@architectures": "spacy.Tok2Vec.v2",
            "embed": {
                "@architectures": "spacy.MultiHashEmbed.v2",
                "width": 96,
                "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
                "rows": [5000, 1000, 2500, 2500],
                "include_static_vectors": False,
            },
            "encode": {
                "@architectures": "spacy.MaxoutWindowEncoder.v2",
                "width": 96,
                "depth": 4,
                "window_size": 1,
                "maxout_pieces": 3,
            },
        },
    }
}


class Spacy:
    """`nlp.pipe`, in this process or with `n_process`; one text goes through `nlp(text)`."""

    def __init__(self, entrant: Entrant) -> None:
        self._nlp = spacy.load(entrant.path)
        self._cores = entrant.cores

    @property
    def details(self) -> str:
        return f"spaCy {spacy.__version__}, {self._cores} process{'es' if self._cores > 1 else ''}"

    def tag(self, texts: Sequence[str]) -> int:
        if len(texts) == 1:
            return len(self._nlp(texts[0]).ents)
        # A process takes whole batches: with few texts, or long ones, 256 would leave nothing for
        # the second.
        size = (
            BATCH_TEXTS
            if self._cores == 1
            else max(1, min(BATCH_TEXTS, len(texts) // (8 * self._cores)))
        )
        return sum(
            len(each.ents) for each in self._nlp.pipe(texts, batch_size=size, n_process=self._cores)
        )

    def words_read(self, texts: Sequence[str]) -> int:
        return sum(map(count_words, texts))


def make(folder: Path, labels: Sequence[str]) -> None:
    """Writes a model for these labels."""
    nlp = spacy.blank("en")
    recogniser = nlp.add_pipe("ner", config=CONFIGURATION)
    for label in labels:
        recogniser.add_label(label)
    nlp.initialize()
    nlp.to_disk(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:])

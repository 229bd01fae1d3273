"""What data a report is about: sentences, words and entities by corpus, part and label."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from teddy.training.corpus.align import Sentence
from teddy.training.corpus.corpora import Corpus


@dataclass(slots=True, kw_only=True)
class PartCounts:
    """Counts of the training or the dev part of a corpus."""

    corpus: str
    part: str
    n_sentences: int = 0
    n_words: int = 0
    n_entities: Counter[str] = field(default_factory=Counter)
    """By label; those that no words can express too."""

    def add(self, sentence: Sentence) -> None:
        """Count a sentence."""
        self.n_sentences += 1
        self.n_words += len(sentence.words)
        self.n_entities.update(span.label for span in (*sentence.spans, *sentence.misaligned))

    def as_dict(self) -> dict[str, object]:
        """Give the counts ready for JSON."""
        return {
            "corpus": self.corpus,
            "part": self.part,
            "sentences": self.n_sentences,
            "words": self.n_words,
            "entities": dict(self.n_entities),
        }


def data_summary(corpora: Iterable[Corpus], parts: Sequence[str] = ("train", "dev")) -> list[PartCounts]:
    """Count the parts of all corpora; those without a sentence are left out."""
    summary = []
    for corpus in corpora:
        for part in parts:
            counts = PartCounts(corpus=corpus.name, part=part)
            for sentence in corpus.train if part == "train" else corpus.dev:
                counts.add(sentence)
            if counts.n_sentences:
                summary.append(counts)
    return summary

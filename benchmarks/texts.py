"""The texts of the benchmark: paragraphs, made up or from a file, and what is cut from them.

Made-up paragraphs need nothing from outside and have what costs time in real ones: tens of
thousands of distinct words whose frequencies follow Zipf's law, so that no cache knows them all;
names, numbers, punctuation, and lengths that differ. They mean nothing."""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

SHORT_WORDS, LONG_WORDS, ONE_TEXT_WORDS = 25, 2_000, 25

FUNCTION_WORDS = """
the of and in to a was is for as on with by that at from his it an were are which be this he had
or not also first her its has but their one two who after have been they new other into when
during all there time may she him more most years up over some only three between out later would
where then than them made part many such no about under while these through used being before can
until both if second since so became including against well will each several same any because
however four around what without another those now our could did very work just should
"""
"""The commonest words of English, in about the order of their frequency: nearly half of a running
text."""
FUNCTION_SHARE = 0.5
ONSETS = (
    "b c d f g h j k l m n p r s t v w b c d f g l m n p r s t v "
    "br ch cl cr dr fl gr pl pr sh sp st th tr"
)
VOWELS = "a e i o u a e i o u a e i o u a e i o ai ea ee io ou"
CODAS = "- - - - - - - l m n r s t n r nd ng nt st ck"
ENDINGS = "- - - - - - - s s s ed ed ing er ly al tion ity"
"""What words are made of; a dash is nothing, and what stands several times is drawn more often."""

N_WORDS, N_NAMES = 60_000, 20_000
TABLE_WORDS = 1_000_000
ZIPF_SHIFT = 2.7
"""Mandelbrot's: the weight of the word of rank r is 1 / (r + shift)."""

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def made_up_paragraphs(seed: int = 1) -> Iterator[str]:
    """Yield paragraphs without end, the same for a seed: of about forty words, some of three."""
    draw = random.Random(seed)  # noqa: S311
    words = _Lexicon.made(draw, N_WORDS, FUNCTION_WORDS.split())
    names = _Lexicon.made(draw, N_NAMES)
    while True:
        n_sentences = 1 + int(draw.expovariate(0.5))
        yield " ".join(_sentence(draw, words, names) for _ in range(n_sentences))


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """Words to draw from by frequency: several times as quick as drawing by weights."""

    table: Sequence[str]

    @classmethod
    def made(cls, draw: random.Random, n_words: int, first: Sequence[str] = ()) -> "_Lexicon":
        """Take the words given, then made-up ones; those given have `FUNCTION_SHARE` of the whole.

        Rarer words are longer, as they are in a language.
        """
        onsets, vowels, codas, endings = (
            parts.split() for parts in (ONSETS, VOWELS, CODAS, ENDINGS)
        )
        distinct = dict.fromkeys(first)
        while len(distinct) < n_words:
            n_syllables = draw.choice((1, 1, 2, 2) if len(distinct) < 3_000 else (1, 2, 2, 3))
            syllables = (
                draw.choice(onsets) + draw.choice(vowels) + draw.choice(codas)
                for _ in range(n_syllables)
            )
            distinct["".join((*syllables, draw.choice(endings))).replace("-", "")] = None
        given, made = _zipf(len(first)), _zipf(n_words - len(first))
        share = FUNCTION_SHARE if given else 0.0
        shares = [share * each for each in given] + [(1 - share) * each for each in made]
        counts = (max(1, round(TABLE_WORDS * each)) for each in shares)
        return cls(
            [word for word, count in zip(distinct, counts, strict=True) for _ in range(count)]
        )

    def draw(self, draw: random.Random, n_words: int) -> list[str]:
        return draw.choices(self.table, k=n_words)


def _zipf(n_words: int) -> list[float]:
    """The shares of so many words, the commonest first."""
    weights = [1.0 / (rank + ZIPF_SHIFT) for rank in range(1, n_words + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def _sentence(draw: random.Random, words: _Lexicon, names: _Lexicon) -> str:
    """Words with names, numbers and marks at random places, from a capital to a full stop."""
    n_words = max(3, min(80, int(draw.lognormvariate(2.85, 0.5))))
    sentence = words.draw(draw, n_words)
    for _ in range(round(draw.expovariate(9 / n_words))):
        name = " ".join(map(str.capitalize, names.draw(draw, draw.choice((1, 1, 2, 2, 3)))))
        sentence[draw.randrange(n_words)] = name
    if draw.random() < n_words / 28:
        sentence[draw.randrange(n_words)] = _number(draw)
    for _ in range(n_words // 11):
        sentence[draw.randrange(n_words)] += draw.choice((",", ",", ",", ",", ";", ":", "'s"))
    if draw.random() < 0.12:
        place = draw.randrange(n_words)
        opening, closing = draw.choice(("()", '""', "“”"))
        sentence[place] = f"{opening}{sentence[place]}{closing}"
    sentence[0] = sentence[0][:1].upper() + sentence[0][1:]
    return " ".join(sentence).rstrip(",;:") + draw.choice("........?!")


def _number(draw: random.Random) -> str:
    """A year, a count, a decimal, a time of day or a share."""
    return draw.choice(
        (
            f"{draw.randint(1700, 2030)}",
            f"{draw.randint(2, 99)}",
            f"{draw.randint(1, 999)},{draw.randint(0, 999):03}",
            f"{draw.random() * 100:.1f}",
            f"{draw.randint(0, 23)}:{draw.randint(0, 59):02}",
            f"{draw.randint(1, 99)}%",
        )
    )


@dataclass(frozen=True, slots=True)
class Source:
    """The paragraphs: of a file, read again from its start when it ends, or made up."""

    path: Path | None

    def paragraphs(self) -> Iterator[str]:
        """Paragraphs without end. Raises ValueError for a file that has no words."""
        return made_up_paragraphs() if self.path is None else cycle(self._lines(self.path))

    def n_words(self) -> int | None:
        """How many words there are before they repeat; None when they never do."""
        return None if self.path is None else sum(map(count_words, self._lines(self.path)))

    @staticmethod
    def _lines(path: Path) -> list[str]:
        lines = [
            line
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.split()
        ]
        if not lines:
            raise ValueError(f"{path}: there is not one word in it")
        return lines


def count_words(text: str) -> int:
    """Words by white space: a count that belongs to no contender, and the same for all."""
    return len(text.split())


def short_texts(paragraphs: Iterable[str]) -> Iterator[str]:
    """Yield texts of whole sentences of about `SHORT_WORDS` words, half to twice."""
    for paragraph in paragraphs:
        words: list[str] = []
        for sentence in SENTENCE_END.split(paragraph):
            words += sentence.split()
            while len(words) >= SHORT_WORDS // 2:
                yield " ".join(words[: 2 * SHORT_WORDS])
                words = words[2 * SHORT_WORDS :]


def long_texts(paragraphs: Iterable[str]) -> Iterator[str]:
    """Documents of paragraphs, one below the other, each of `LONG_WORDS` words or a few more."""
    document: list[str] = []
    n_words = 0
    for paragraph in paragraphs:
        document.append(paragraph)
        n_words += count_words(paragraph)
        if n_words >= LONG_WORDS:
            yield "\n".join(document)
            document, n_words = [], 0


def single_texts(paragraphs: Iterable[str]) -> Iterator[str]:
    """Texts of just `ONE_TEXT_WORDS` words: what paragraphs that are long enough begin with."""
    for paragraph in paragraphs:
        words = paragraph.split(maxsplit=ONE_TEXT_WORDS)
        if len(words) > ONE_TEXT_WORDS:
            yield " ".join(words[:ONE_TEXT_WORDS])


def mixed_texts(paragraphs: Iterable[str]) -> Iterator[str]:
    """Return texts of all lengths: of 100 paragraphs a document, a word, 98 as they are."""
    several = iter(paragraphs)
    while chunk := list(islice(several, 100)):
        yield from chunk[1:]
        yield chunk[0].split()[0]
        yield from islice(long_texts(chain(chunk, several)), 1)


def take_words(texts: Iterable[str], n_words: int) -> list[str]:
    """The first texts, until they have `n_words` words together."""
    taken: list[str] = []
    for text in texts:
        taken.append(text)
        n_words -= count_words(text)
        if n_words <= 0:
            break
    return taken

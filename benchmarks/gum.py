"""Find the names in GUM, for the recipe `en`: its mentions of entities are whole phrases.

    python gum.py world-cities.csv GUM_*.conllu > gum/train.conll

"the agency's new director Ada Lovelace" is one mention; the name in it is the proper noun at its
head with the other parts of the name. Labels are PER, ORG, LOC and MISC. UNSURE is what may be a
name or part of one: proper nouns that no mention has at its head, titles, works of one word,
towns that stand for something else. `world-cities.csv` has names of countries, from GeoNames.
"""

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LABELS = {
    "person": "PER",
    "organization": "ORG",
    "place": "LOC",
    "event": "MISC",
    "object": "MISC",
    "abstract": "MISC",
}
NO_NAMES = ("time", "quantity")
PARTS = {"compound", "flat", "nmod", "amod", "nummod", "conj", "dep", "goeswith"}
"""The relations by which the parts of a name hang together."""
INNER = _words("of the and & for de la du von van der del 's - / ' . \u2019 \u2019s \u2013")
"""Words that stand between the parts of a name."""
IN_NO_PERSON = _words("of the 's \u2019s")
TITLES = _words(
    """
    president minister mr mr. mrs mrs. ms ms. dr dr. sir king queen prince princess lord lady
    professor justice judge chief general captain colonel senator governor mayor secretary
    ambassador pope chancellor emperor mom dad mother father mum mommy daddy grandma grandpa god
    doctor officer director chairman ceo speaker majesty honor grandmother grandfather uncle aunt jr
    sr prime representative commissioner congressman congresswoman master attorney solicitor counsel
    department court congress government state house senate parliament union bible heaven earth sun
    moon north south east west internet web university college school city county church board
    committee envoy special coach bishop saint minister-president rabbi imam spokesman spokeswoman
    """
)
"""Words in lower case that are no name alone, even with a capital."""
MORE_COUNTRIES = _words("U.S. US USA UK U.K. America Britain England Scotland Wales")


class Word(NamedTuple):
    """A line of CoNLL-U."""

    text: str
    is_proper: bool
    pos: str
    xpos: str
    head: int
    """The place of the word that this one depends on, from 0; -1 for the root."""
    relation: str
    entities: str


class Mention(NamedTuple):
    """A phrase that names an entity or describes one."""

    start: int
    end: int
    kind: str
    is_known: bool
    """Whether it has an article in Wikipedia."""


def sentences(path: Path) -> Iterator[list[Word]]:
    """Yield the sentences of a file of CoNLL-U; ranges of words and empty words are left out."""
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        rows = [line.split("\t") for line in block.splitlines() if re.match(r"\d+\t", line)]
        if rows:
            yield [
                Word(
                    text=row[1],
                    is_proper=row[3] == "PROPN" or row[4] in ("NNP", "NNPS"),
                    pos=row[3],
                    xpos=row[4],
                    head=int(row[6]) - 1,
                    relation=row[7].partition(":")[0],
                    entities="".join(re.findall(r"(?:^|\|)Entity=([^|]*)", row[9])),
                )
                for row in rows
            ]


def mentions(words: list[Word]) -> list[Mention]:
    """Return the mentions of a sentence, in brackets such as `(1-person-new-...-Ada_Lovelace`."""
    opened: list[tuple[str, int, str, bool]] = []
    found = []
    for place, word in enumerate(words):
        for mark in re.findall(r"\([^()]+\)?|[^()]+\)", word.entities):
            if mark.startswith("("):
                # GRP-etype-infstat-salience-centering-minspan-link-identity
                number, kind, *rest = mark.strip("()").split("-", 7)
                opened.append((number, place, kind, len(rest) == 6))
            if mark.endswith(")"):
                number = opened[-1][0] if mark.startswith("(") else mark.rstrip(")")
                at = max((at for at, each in enumerate(opened) if each[0] == number), default=-1)
                if at >= 0:
                    _, start, kind, is_known = opened.pop(at)
                    found.append(Mention(start, place + 1, kind, is_known))
    return found


def name_at_head(words: list[Word], mention: Mention) -> tuple[int, int] | None:
    """Return where the name at the head of a mention is, or None where no proper noun is there."""
    inside = range(mention.start, mention.end)
    heads = [at for at in inside if words[at].head not in inside]
    if len(heads) != 1 or not words[heads[0]].is_proper:
        return None
    taken = {heads[0]}
    while more := {at for at in inside if at not in taken and _belongs(words, at, taken)}:
        taken.add(min(more))
    start = min(taken)
    while words[start].text.lower() in ("the", "'", '"'):
        start += 1
    return start, max(taken) + 1


def _belongs(words: list[Word], at: int, taken: set[int]) -> bool:
    """Tell whether a word is one more part of the name that has the words `taken`."""
    word, first, last = words[at], min(taken), max(taken)
    if word.head not in taken or word.relation not in PARTS:
        return False
    between = [words[k] for k in range(min(at, first), max(at, last)) if k != at and k not in taken]
    if not all(each.is_proper or each.text.lower() in INNER for each in between):
        return False
    # "Ada and Bob" are two names, "Smith & Sons" and "Ministry of Defence and Aviation" one each.
    is_of_head = word.relation == "conj" and words[word.head].head not in taken
    if is_of_head and not any(each.text == "&" for each in between):
        return False
    is_number = word.pos == "NUM" and at == last + 1
    is_adjective = word.pos == "ADJ" and word.text[:1].isupper() and 0 < at == first - 1
    return word.is_proper or is_number or is_adjective


def label_of(
    words: list[Word], mention: Mention, text: str, places: set[str], countries: frozenset[str]
) -> str:
    """Return the label of the name `words` in a mention; "O" where it is a title alone."""
    lower = {word.text.lower() for word in words}
    if mention.kind in ("organization", "person") and text in countries:
        return "LOC"
    if mention.kind == "person" and lower <= TITLES:
        return "O"
    label = LABELS.get(mention.kind, "UNSURE")
    is_plural = words[-1].xpos == "NNPS"
    doubts = [
        len(text) == 1,
        lower <= TITLES | INNER,
        not any(word.text[0].isupper() or word.text[0].isdigit() for word in words),
        label == "PER" and (len(words) > 5 or is_plural or bool(lower & IN_NO_PERSON)),
        label == "MISC" and not mention.is_known,
        mention.kind == "abstract" and (len(words) == 1 or text.isupper()),
        mention.kind == "organization" and text in places,
    ]
    return "UNSURE" if any(doubts) else label


def tags(words: list[Word], places: set[str], countries: frozenset[str]) -> list[str]:
    """Return the tags of a sentence. Of names within names the longest mention's counts."""
    found = mentions(words)
    out = ["O"] * len(words)
    decided = [False] * len(words)
    for mention in sorted(found, key=lambda each: (each.start - each.end, each.start)):
        name = name_at_head(words, mention)
        if name is None or any(decided[slice(*name)]):
            continue
        start, end = name
        text = " ".join(word.text for word in words[start:end])
        if mention.kind not in NO_NAMES:
            label = label_of(words[start:end], mention, text, places, countries)
            if label != "O":
                out[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
        decided[start:end] = [True] * (end - start)
    for mention in found:
        if mention.kind in NO_NAMES:
            decided[mention.start : mention.end] = [True] * (mention.end - mention.start)
    for place, word in enumerate(words):
        if not decided[place] and word.is_proper and word.text.lower() not in TITLES:
            out[place] = "B-UNSURE"
    return out


def main() -> None:
    """Print the words and tags of the files that the command line names."""
    gazetteer, *files = map(Path, sys.argv[1:])
    with gazetteer.open(encoding="utf-8", newline="") as file:
        countries = MORE_COUNTRIES | {row["country"] for row in csv.DictReader(file)}
    documents = [list(sentences(path)) for path in files]
    places = set()
    for words in (words for document in documents for words in document):
        for mention in mentions(words):
            name = name_at_head(words, mention) if mention.kind == "place" else None
            if name:
                places.add(" ".join(word.text for word in words[slice(*name)]))
    for document in documents:
        print("-DOCSTART-\tO\n")
        for words in document:
            for word, tag in zip(words, tags(words, places, countries), strict=True):
                print(word.text, tag, sep="\t")
            print()


if __name__ == "__main__":
    main()

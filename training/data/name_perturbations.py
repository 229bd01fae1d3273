"""Names as people write them: behind a title, as a handle or a hashtag, or in a list.

Corpora have few of these. As other perturbations do (see `teddy.training.data.perturbations`), they
edit the text of a sentence, and spans follow their characters.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from teddy.model.tags.spans import Span
from teddy.training.data.align import Sentence
from teddy.training.data.perturbations import Edit, characters, rewritten, shifted

_TITLES = (
    *("Mr", "Ms", "Mrs", "Dr", "Prof", "Gen", "Col", "Capt", "Lt", "Sgt", "Sen", "Rep", "Gov"),
    *("Mr.", "Ms.", "Mrs.", "Dr.", "Prof.", "Gen.", "Sen.", "Miss", "Professor", "President"),
    *("Minister", "Chancellor", "Senator", "Governor", "Mayor", "General", "Colonel", "Captain"),
    *("Admiral", "Judge", "Justice", "Coach", "Pope", "Bishop", "Rabbi", "Imam", "Sheikh", "King"),
    *("Queen", "Prince", "Princess", "Emperor", "Sir", "Dame", "Lord", "Lady", "Sister", "Rev."),
)
_TITLE_WORDS = frozenset(title.rstrip(".").lower() for title in _TITLES)
_SURNAME_SHARE = 0.5
_LONGEST_MARKED = 3
_FIRST_YEAR, _N_YEARS = 1990, 36
_GAPS = (" ", " ", "\t", "\n", " | ", ", ", " - ", "; ")


def titled(sentence: Sentence, label: str, random: np.random.Generator) -> Sentence | None:
    """Put a title before each span of this label; it is not part of the span.

    Half of them lose their first names. Spans behind a title or a mark (`@`) stay as they are.
    None where the words would not be those of the spans any more.
    """
    sentence = _with_gap(sentence)
    edits: list[Edit] = []
    for span in sentence.spans:
        start, end = characters(sentence, span.start, span.end)
        before = sentence.words[span.start - 1].rstrip(".").lower() if span.start else ""
        is_free = sentence.text[start - 1].isspace() and before not in {*_TITLE_WORDS, "@", "#"}
        chosen, is_surname = random.integers(len(_TITLES)), random.random() < _SURNAME_SHARE
        if span.label == label and is_free and sentence.text[start].isalpha():
            title = _TITLES[chosen]
            title = title.lower() if sentence.text[start:end].islower() else title
            # The title lies in the gap before the span, so that the span begins behind it.
            edits.append((start - 1, start, f" {title} "))
            last = sentence.offsets[span.end - 1][0]
            if (
                is_surname
                and last > start
                and sentence.text[last - 1].isspace()
                and sentence.text[last].isalpha()
            ):
                edits.append((start, last, ""))
    return rewritten(sentence, edits)


def marked(sentence: Sentence, random: np.random.Generator) -> Sentence | None:
    """Write `@ name` and `# name` without the space, and one other name as a handle or hashtag.

    Corpora part the mark from the name; people do not. A span takes in the `#`. A name that is
    joined to its `@` is a user name, and no entity any more.
    """
    sentence = _with_gap(sentence)
    handles: list[Span] = []
    at: dict[int, Span] = {}
    edits: list[Edit] = []
    plain: list[tuple[int, int]] = []
    for span in sentence.spans:
        start, end = characters(sentence, span.start, span.end)
        is_behind_mark = sentence.text[max(0, start - 2) : start] in ("@ ", "# ")
        if is_behind_mark:
            edits.append((start - 1, start, ""))
            handles += [span] if sentence.text[start - 2] == "@" else []
        elif sentence.text[start - 1].isspace() and span.end - span.start <= _LONGEST_MARKED:
            plain.append((start, end))
            at[start] = span
    chosen, is_hashtag, is_lower, has_year, year = (
        int(each) for each in random.integers((999, 2, 2, 2, _N_YEARS))
    )
    if plain:
        start, end = plain[chosen % len(plain)]
        name = "".join(filter(str.isalnum, sentence.text[start:end]))
        if name and name[0].isalpha():
            name = name.lower() if is_lower else name
            name += str(_FIRST_YEAR + year) if is_hashtag and has_year else ""
            edits += [(start - 1, start, " #" if is_hashtag else " @"), (start, end, name)]
            handles += [] if is_hashtag else [at[start]]
    spans = tuple(span for span in sentence.spans if span not in handles)
    return rewritten(replace(sentence, spans=spans), sorted(edits), grown=True)


def listed(sentence: Sentence, random: np.random.Generator) -> Sentence | None:
    """Return only the names of a sentence, one after another, as in tables, lists and addresses.

    None for a sentence of fewer than two spans.
    """
    if len(sentence.spans) < 2:
        return None
    borders = [characters(sentence, span.start, span.end) for span in sentence.spans]
    gap = _GAPS[int(random.integers(len(_GAPS)))]
    # Two names of one kind with a space between them would be read as one name.
    between = [
        ", " if gap == " " and one.label == other.label else gap
        for one, other in pairwise(sentence.spans)
    ]
    ends = [0, *(end for _, end in borders)]
    starts = [*(start for start, _ in borders), len(sentence.text)]
    gaps = ["", *between, ""]
    pairs = zip(ends, starts, gaps, strict=True)
    return rewritten(sentence, [edit for edit in pairs if edit[0] < edit[1]])


def _with_gap(sentence: Sentence) -> Sentence:
    """Return the sentence with a gap before its first word, where an edit before a span can be."""
    if sentence.text[0].isspace():
        return sentence
    return replace(
        sentence,
        text=" " + sentence.text,
        offsets=tuple((start + 1, end + 1) for start, end in sentence.offsets),
        misaligned=shifted(sentence.misaligned, 1),
    )

"""Words: where they lie in a text.

Training and serving both split here, so that a model meets the words it has learnt.

A text is first split at white space; what one chunk gives never depends on its neighbours. Within a
chunk the first of these that fits is a word:

- a web address, an e-mail address, a bare domain (`example.com/about`), `@name`, `#tag`, an
  emoticon, a character entity such as `&amp;`;
- a contraction, as treebanks split it: `John's` is `John` `'s`, `don't` is `do` `n't`. Elsewhere an
  apostrophe between letters is part of the word (`O'Brien`, `L'Oreal`);
- letters with dots between them (`U.S.`, `e.g.`), an initial (`J.`), a known abbreviation (`Mr.`,
  `Inc.`), `AT&T`;
- letters, digits and underscores; between digits also `. , : / -`, so that `1,000.50`, `10:30` and
  `1996-08-22` are one word;
- one character, with its marks, of the scripts that are written without spaces: Han, kana; of Thai,
  Lao, Khmer and Burmese one cluster;
- a repeated stop or dash (`...`, `--`), an emoji with all that modifies or joins it, a flag;
- any other character, with its combining marks.

Other hyphens are words of their own: `New York-based` has an entity that ends before its hyphen.
(Of the entities in UNER English-EWT about 1 in 100 has such a border; corpora that keep
`German-born` whole lose nothing but two words.)

Every character that is neither white space nor ignorable lies in exactly one word. Ignorable are
control and format characters (NUL, zero-width space, byte-order mark, directional marks, ...); in
the middle of a word or an emoji the soft hyphen and the zero-width joiners belong to it, elsewhere
an ignorable character ends a word as a space does.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby
from string import ascii_letters

from teddy.model.errors import TextError

TOKENISER_VERSION = 1
"""Goes into the model file; changes whenever some text would be split in another way."""

MAX_WORD_CHARACTERS = 100
"""A longer word is cut after every so many characters; nothing is dropped."""

Text = str | Sequence[str]
"""A text, or its words where they are given: then its offsets count words."""

_SHORT_CHUNK_CHARACTERS = 24
_CACHED_CHUNKS = 2**13  # about 3 MB


def check_text(text: str) -> None:
    """Raise TextError, which names the position, when the text holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code_point = ord(text[error.start])
        raise TextError(f"lone surrogate U+{code_point:04X} at character {error.start}") from None


def check_words(words: Sequence[str]) -> None:
    """Raise TextError, which names the position, for an empty word or a lone surrogate in one."""
    try:
        " ".join(words).encode()
    except UnicodeEncodeError:
        for position, word in enumerate(words):
            try:
                check_text(word)
            except TextError as error:
                raise TextError(f"{error} of word {position}") from None
    if not all(words):
        raise TextError(f"word {list(words).index('')} is empty: leave it out")


def n_characters(text: Text) -> int:
    """Return the length of a text; of words, the length with one space between each two."""
    if isinstance(text, str):
        return len(text)
    return sum(map(len, text)) + max(0, len(text) - 1)


def tokenise(text: str) -> list[tuple[int, int]]:
    """Return half-open character offsets of a text's words, in order; see `split_words`."""
    starts, ends, _ = split_words(text)
    return list(zip(starts, ends, strict=True))


def split_words(text: str) -> tuple[list[int], list[int], list[str]]:
    """Return where each word begins, where it ends, and the word, in time linear in the text.

    Words are disjoint and in order; no word is empty or holds white space.
    """
    starts: list[int] = []
    ends: list[int] = []
    words: list[str] = []
    chunks = text.split()
    # Where one space stands between chunks, as nearly everywhere, no search is needed.
    is_evenly_spaced = " ".join(chunks) == text
    end = -1
    for chunk in chunks:
        start = end + 1 if is_evenly_spaced else text.index(chunk, end + 1)
        end = start + len(chunk)
        # Nine chunks in ten of English text are plain letters, perhaps with a comma or full stop.
        if chunk.isalpha() and chunk.isascii() and len(chunk) <= _SHORT_CHUNK_CHARACTERS:
            starts.append(start)
            ends.append(end)
            words.append(chunk)
        elif (
            chunk[-1] in ",."
            and (stem := chunk[:-1]).isalpha()
            and stem.isascii()
            and stem not in _MAY_KEEP_STOP
        ):
            starts += (start, end - 1)
            ends += (end - 1, end)
            words += (stem, chunk[-1])
        else:
            is_short = len(chunk) <= _SHORT_CHUNK_CHARACTERS
            for first, last in _split_short_chunk(chunk) if is_short else _split_chunk(chunk):
                starts.append(start + first)
                ends.append(start + last)
                words.append(chunk[first:last])
    return starts, ends, words


def _split_chunk(chunk: str) -> Iterator[tuple[int, int]]:
    """Yield the words of a text without white space, which may be a whole document in Chinese."""
    for match in _word_pattern().finditer(chunk):
        start, end = match.span()
        while end - start > MAX_WORD_CHARACTERS:
            yield start, start + MAX_WORD_CHARACTERS
            start += MAX_WORD_CHARACTERS
        yield start, end


@lru_cache(_CACHED_CHUNKS)
def _split_short_chunk(chunk: str) -> tuple[tuple[int, int], ...]:
    return tuple(_split_chunk(chunk))


_ABBREVIATIONS = (
    "Mr|Mrs|Ms|Messrs|Dr|Prof|Rev|Hon|Gen|Col|Maj|Capt|Cmdr|Lt|Sgt|Cpl|Adm|Gov|Sen|Rep|Pres|St|Ste|"
    "Mt|Ft|Jr|Sr|"
    "Inc|Corp|Co|Ltd|Bros|Dept|Univ|Assn|Ave|Blvd|Rd|Jan|Feb|Apr|Aug|Sept|Sep|Oct|Nov|Dec|Calif|"
    "Fla|Va|Pa|Conn|Mass|"
    "Ph.D|vs|etc|approx|dept|feat|ft|pp|vol|cf"
)
_MAY_KEEP_STOP = frozenset([*_ABBREVIATIONS.split("|"), *ascii_letters])

# those that are also common words (at, be, no, us) are left out: "call me.no problem"
_TOP_LEVEL_DOMAINS = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ly|tv|fm|"
    "eu|uk|ie|ca|au|nz|de|ch|fr|nl|es|it|dk|se|fi|pl|ru|cn|jp|kr|br|co"
)

# Insides of `[...]`. Scripts without spaces, by character: Han with its radicals and numerals,
# kana, bopomofo.
_BY_CHARACTER = (
    r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u30ff"
    r"\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
# By cluster: Thai, Lao, Myanmar, Khmer, all less their digits.
_BY_CLUSTER = (
    r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u109a-\u109f"
    r"\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f\u1780-\u17d3\u17d7\u17dc"
)
_ALPHANUMERIC = rf"[^\W{_BY_CHARACTER}{_BY_CLUSTER}]"
_LETTER = rf"[^\W\d_{_BY_CHARACTER}{_BY_CLUSTER}]"
# written before the consonant that they follow in speech
_LEADING_VOWELS = r"\u0e40-\u0e44\u0ec0-\u0ec4"
_TRAILING_VOWELS = r"\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
_STACKERS = r"\u1039\u17d2"  # the next consonant is written below
_JOINERS = r"\u00ad\u200c\u200d\u2060"  # invisible; may stand inside a word
# skin tones, and the tags of regional flags
_EMOJI_MODIFIERS = r"\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
_APOSTROPHES = r"['\u2019]"
_CLITIC = rf"{_APOSTROPHES}(?:s|ll|re|ve|d|m)"
_NOT = rf"n{_APOSTROPHES}t"
_NOT_IN_ADDRESSES = (
    r"\s<>\"^`{|}\\\u2000-\u206f\u2190-\u2bff\u3000-\u303f\uff00-\uff65\U0001f000-\U0001faff"
)
_REPEATABLE = r".\-=*~+<>^|/$\u2013\u2014…•·。"


@cache
def _word_pattern() -> re.Pattern[str]:
    """Build the grammar above, alternatives of which the first that fits wins.

    An alternative that fails has read a bounded number of characters, or characters that are read
    at most once more: the search is linear for every text.
    """
    mark = _character_class("Mn", "Mc", "Me")
    ignorable = _character_class("Cc", "Cf")
    ends = rf"(?![\w{mark}])"
    # Letters and digits, with their marks and the joiners between them.
    joiners = rf"[{_JOINERS}]++(?=[\w{mark}])"
    run = rf"{_ALPHANUMERIC}++(?:(?:[{mark}]++|{joiners})++{_ALPHANUMERIC}*+)*+"
    between_digits = r"(?<=\d)[.,:/\u2013-](?=\d)"
    apostrophe = rf"(?!(?i:{_CLITIC}){ends})['\u2019\u05f3\u05f4](?={_LETTER})"
    address_part = (
        rf"[^{_NOT_IN_ADDRESSES}{_BY_CHARACTER}{_BY_CLUSTER}{ignorable}]*(?<![.,;:!?'*)\]])"
    )
    domain = r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}+\.){1,8}"
    cluster = rf"[{_STACKERS}][{_BY_CLUSTER}]|[{mark}{_TRAILING_VOWELS}]"
    symbol = rf"[^\w\s{ignorable}][{mark}{_EMOJI_MODIFIERS}]*+"
    alternatives = [
        # web and e-mail addresses, domains, names, tags
        rf"(?i:https?://|ftp://|www\.){address_part}",
        rf"[A-Za-z0-9][A-Za-z0-9_.+%-]{{0,63}}+@{domain}[A-Za-z]{{2,24}}+{ends}",
        rf"{domain}(?:{_TOP_LEVEL_DOMAINS}){ends}(?!@)(?:/{address_part})?",
        rf"[@#]{run}",
        r"&(?:amp|lt|gt|quot|apos|nbsp|\#[0-9]{1,7});",
        rf"[:;=]-?[()DP]{ends}",  # emoticons
        "[0-9#*]\ufe0f?\u20e3",  # key caps
        # contractions
        rf"{_ALPHANUMERIC}{{1,9}}?(?=(?i:{_NOT}){ends})",  # the `do` of `don't`
        rf"(?i:{_NOT}|{_CLITIC}){ends}",
        # abbreviations
        rf"{_LETTER}(?:\.{_LETTER})+{ends}\.?",  # U.S., e.g, J.R.R.
        r"[A-ZÀ-ÖØ-ÞΑ-ΩЀ-Я]\.",  # an initial
        rf"(?:{_ABBREVIATIONS})\.",
        rf"{_LETTER}{{1,4}}&{_LETTER}{{1,2}}{ends}",  # AT&T
        # plain words, and those of scripts without spaces
        rf"{run}(?:(?:{between_digits}|{apostrophe}){run})*+",
        rf"[{_BY_CHARACTER}][{mark}]*+",
        rf"[{_LEADING_VOWELS}]?[{_BY_CLUSTER}](?:{cluster})*+",
        # symbols
        "[\U0001f1e6-\U0001f1ff]{2}",  # a flag is two letters
        "''|``",  # quotation marks as treebanks write them
        rf"[!?\uff01\uff1f]{{2,}}+|([{_REPEATABLE}])\1++",
        rf"{symbol}(?:\u200d{symbol})*+",
    ]
    return re.compile("|".join(alternatives))


def _character_class(*categories: str) -> str:
    """List the characters of some Unicode categories, as the inside of `[...]`."""
    # past plane 1 there are only Han characters and, in plane 14, tags and variation selectors
    code_points = [*range(0x20000), *range(0xE0000, 0xE0200)]
    chosen = [code for code in code_points if unicodedata.category(chr(code)) in categories]
    ranges = []
    for _, group in groupby(enumerate(chosen), lambda pair: pair[1] - pair[0]):
        codes = [code for _, code in group]
        ranges.append(f"\\U{codes[0]:08x}-\\U{codes[-1]:08x}")
    return "".join(ranges)

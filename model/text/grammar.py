"""The grammars of words: what a word is within a chunk of text that has no white space.

A grammar is a regular expression of alternatives, of which the first that fits is a word:

- a web address, an e-mail address, a bare domain (`example.com/about`);
- `@name`, in version 2 with underscores anywhere; in version 1 `#tag`, of which version 2 makes
  words (`teddy.model.text.words` cuts what is behind `#`);
- an emoticon, a key cap; in version 1 a character entity such as `&amp;`;
- a contraction, as treebanks split it: `John's` is `John` `'s`, `don't` is `do` `n't`; the clitics
  of a language (`l'`, `-se`). Elsewhere an apostrophe between letters is part of the word;
- letters with dots between them (`U.S.`, `e.g.`), a title with its stop (`Mr.`); in version 1 also
  an initial (`J.`), other abbreviations (`Inc.`), and `AT&T`;
- in version 2 a date or a score, a number before its unit, letters before digits, a name such as
  `Jae-in`;
- letters and digits; between digits also `. , : /`, so that `1,000.50` and `10:30` are one word;
- one character, with its marks, of the scripts that are written without spaces: Han, kana; of Thai,
  Lao, Khmer and Burmese one cluster;
- a repeated stop or dash (`...`, `--`), an emoji with all that modifies or joins it, a flag;
- any other character, with its combining marks.

Other hyphens are words of their own: `New York-based` has an entity that ends before its hyphen.
(Of the entities in UNER English-EWT about 1 in 100 has such a border; corpora that keep
`German-born` whole lose nothing but two words.)
"""

import re
import unicodedata
from functools import cache
from itertools import groupby
from string import ascii_letters

_TITLES = (
    "Mr|Mrs|Ms|Messrs|Dr|Prof|Rev|Hon|Gen|Col|Maj|Capt|Cmdr|Lt|Sgt|Cpl|Adm|Gov|Sen|Rep|Pres|Mt|Ft"
)
_ABBREVIATIONS = (
    f"{_TITLES}|St|Ste|Jr|Sr|"
    "Inc|Corp|Co|Ltd|Bros|Dept|Univ|Assn|Ave|Blvd|Rd|Jan|Feb|Apr|Aug|Sept|Sep|Oct|Nov|Dec|Calif|"
    "Fla|Va|Pa|Conn|Mass|"
    "Ph.D|vs|etc|approx|dept|feat|ft|pp|vol|cf"
)
_STOPS_KEPT = f"{_TITLES}|vs"

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

# Words that lose their vowel before another, by language; the apostrophe ends them.
_ELISIONS = {
    "fr": "[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu",
    "it": (
        "[cdglmnstv]|gl|un|nient|[dns]?all|coll|[dn]ell|dell|sull|quell|bell|quest|sant|anch|"
        "com|dov|cos|cent|tutt|mezz|senz|pover|grand|buon|nessun|alcun|ciascun"
    ),
    "pt": "d",
    "ca": "[dlmnst]",
}
# Words that begin with an apostrophe.
_PROCLITICS = {"nl": "s|t|n|k|r|m|ns", "de": "s|n|ne|nem|nen|ner"}
# Pronouns that a hyphen joins to a verb.
_ENCLITICS = {
    "pt": "se|me|te|lhe|lhes|nos|vos|o|a|os|as|lo|la|los|las|no|na|nas",
    "fr": "je|tu|ils?|elles?|on|nous|vous|ce|moi|toi|lui|leur|les?|la|y|en|t-(?:ils?|elles?|on)",
}
_UNITS = (
    "[mµμn]?g|mcg|kg|[kcmnµμd]?m|km/h|[mcd]?[lL]|ft|in|mi|lbs?|oz|mph|km?ph|[kMG]?Wh?|[kMG]?Hz|kHz|"
    "[kKMGT][bB]|k|K|M|B|bn|mn|mln|tn|[ap]m|[AP]M|h|hrs?|mins?|secs?|ms|px|pt|ha"
)
_SYLLABLE = (
    "(?:[bcdfghjklmnpqrstwxyz]|[cksptzwn]h|hs|t[sz]|[kg]w|kk|pp|tt|ss|jj|[bghkmnpr]y)?"
    "[aeiou]{1,4}(?:ng|hn|[nmkptlrhgbyw])?"
)
"""Of Chinese and Korean names in Latin letters."""


def keeps_stop(version: int) -> frozenset[str]:
    """Return the words whose full stop belongs to them, as plain ASCII letters."""
    if version == 1:
        return frozenset([*_ABBREVIATIONS.split("|"), *ascii_letters])
    return frozenset(_STOPS_KEPT.split("|"))


@cache
def word_pattern(version: int, language: str) -> re.Pattern[str]:
    """Return the grammar of a version; the first has none for single languages.

    An alternative that fails has read a bounded number of characters, or characters that are read
    at most once more: the search is linear for every text.
    """
    alternatives = _first_version() if version == 1 else _second_version(language)
    return re.compile("|".join(alternatives))


def _first_version() -> list[str]:
    alphanumeric = rf"[^\W{_BY_CHARACTER}{_BY_CLUSTER}]"
    mark = _character_class("Mn", "Mc", "Me")
    ends = rf"(?![\w{mark}])"
    run = _run(alphanumeric, rf"[{_JOINERS}]++(?=[\w{mark}])")
    between_digits = r"(?<=\d)[.,:/\u2013-](?=\d)"
    return [
        *_addresses(ends),
        rf"[@#]{run}",
        r"&(?:amp|lt|gt|quot|apos|nbsp|\#[0-9]{1,7});",
        *_small_signs(ends),
        *_contractions(alphanumeric, ends),
        # abbreviations
        rf"{_LETTER}(?:\.{_LETTER})+{ends}\.?",  # U.S., e.g, J.R.R.
        r"[A-ZÀ-ÖØ-ÞΑ-ΩЀ-Я]\.",  # an initial
        rf"(?:{_ABBREVIATIONS})\.",
        rf"{_LETTER}{{1,4}}&{_LETTER}{{1,2}}{ends}",  # AT&T
        rf"{run}(?:(?:{between_digits}|{_inner_apostrophe(ends)}){run})*+",
        *_unspaced_scripts(),
        *_symbols(rf"[^\w\s{_ignorable()}]", _REPEATABLE),
    ]


def _second_version(language: str) -> list[str]:
    alphanumeric = rf"[^\W_{_BY_CHARACTER}{_BY_CLUSTER}]"
    ends = rf"(?![^\W_]|[{_marks()}])"
    run = _run(alphanumeric, rf"[\u200c\u200d]++(?=[^\W_]|[{_marks()}])")
    behind = rf"{ends}(?![.,:/\u2013-]\d)"
    inner = rf"(?<=\d)[.,:/](?=\d)|_(?={alphanumeric})|{_inner_apostrophe(ends)}"
    return [
        *_addresses(ends),
        rf"{alphanumeric}{{1,30}}?(?=(?i:https?|ftp)://)",  # a word that an address follows
        rf"(?P<tag>\#{run}(?:_++{run})*+)",
        # a user name, with its underscores; behind a letter, as in `Ada/HOU@ENRON`, without its @
        rf"(?:(?<![^\W_])@|(?<=[^\W_]@))(?!\d)_*+{run}(?:_++{run})*+_*+",
        *_small_signs(ends),
        *_contractions(alphanumeric, ends),
        *_clitics(language, ends),
        rf"{_LETTER}(?:\.{_LETTER})+{ends}\.?",  # U.S., e.g, J.R.R.
        rf"(?:{_STOPS_KEPT}|Ph\.D)\.",
        # numbers: a date, a score, what stands before a unit, what stands behind a name
        rf"(?:\d{{4}}-\d\d?-\d\d?|\d\d?-\d\d?-(?:\d{{4}}|\d\d?)){behind}",
        rf"\d{{1,3}}[\u2013-]\d{{1,3}}{behind}",
        rf"\d++(?:[.,:]\d++)*+(?=(?:{_UNITS}){ends})",
        rf"{_LETTER}{{3,}}+(?=\d++{ends})",
        rf"(?<![^\W_])(?<![-'\u2019])(?=[A-Z])(?i:{_SYLLABLE})-{_SYLLABLE}(?<!-run){ends}(?!-)",
        rf"{run}(?:(?:{inner}){run})*+",
        *_unspaced_scripts(),
        *_symbols(rf"(?:[^\w\s{_ignorable()}]|_)", rf"_{_REPEATABLE}"),
    ]


def _clitics(language: str, ends: str) -> list[str]:
    """Return the words of a language that an apostrophe or a hyphen joins to another."""
    alternatives = []
    if elisions := _ELISIONS.get(language):
        alternatives.append(rf"(?i:{elisions}){_APOSTROPHES}(?={_LETTER})")
    if proclitics := _PROCLITICS.get(language):
        alternatives.append(rf"(?<![^\W_]){_APOSTROPHES}(?i:{proclitics}){ends}")
    if enclitics := _ENCLITICS.get(language):
        alternatives.append(rf"(?<=[a-zß-öø-ÿ])-(?:{enclitics}){ends}(?!-)")
    return alternatives


def _run(alphanumeric: str, joiners: str) -> str:
    """Return letters and digits, with their marks and the joiners between them."""
    return rf"{alphanumeric}++(?:(?:[{_marks()}]++|{joiners})++{alphanumeric}*+)*+"


def _inner_apostrophe(ends: str) -> str:
    return rf"(?!(?i:{_CLITIC}){ends})['\u2019\u05f3\u05f4](?={_LETTER})"


def _addresses(ends: str) -> list[str]:
    """Return web and e-mail addresses, and domains."""
    part = rf"[^{_NOT_IN_ADDRESSES}{_BY_CHARACTER}{_BY_CLUSTER}{_ignorable()}]*(?<![.,;:!?'*)\]])"
    domain = r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}+\.){1,8}"
    return [
        rf"(?i:https?://|ftp://|www\.){part}",
        rf"[A-Za-z0-9][A-Za-z0-9_.+%-]{{0,63}}+@{domain}[A-Za-z]{{2,24}}+{ends}",
        rf"{domain}(?:{_TOP_LEVEL_DOMAINS}){ends}(?!@)(?:/{part})?",
    ]


def _small_signs(ends: str) -> list[str]:
    """Return emoticons and key caps."""
    return [rf"[:;=]-?[()DP]{ends}", "[0-9#*]\ufe0f?\u20e3"]


def _contractions(alphanumeric: str, ends: str) -> list[str]:
    return [
        rf"{alphanumeric}{{1,9}}?(?=(?i:{_NOT}){ends})",  # the `do` of `don't`
        rf"(?i:{_NOT}|{_CLITIC}){ends}",
    ]


def _unspaced_scripts() -> list[str]:
    """Return the words of scripts without spaces: a character, or a cluster of letters."""
    cluster = rf"[{_STACKERS}][{_BY_CLUSTER}]|[{_marks()}{_TRAILING_VOWELS}]"
    return [
        rf"[{_BY_CHARACTER}][{_marks()}]*+",
        rf"[{_LEADING_VOWELS}]?[{_BY_CLUSTER}](?:{cluster})*+",
    ]


def _symbols(symbol: str, repeatable: str) -> list[str]:
    modified = rf"{symbol}[{_marks()}{_EMOJI_MODIFIERS}]*+"
    return [
        "[\U0001f1e6-\U0001f1ff]{2}",  # a flag is two letters
        "''|``",  # quotation marks as treebanks write them
        rf"[!?\uff01\uff1f]{{2,}}+|(?P<sign>[{repeatable}])(?P=sign)++",
        rf"{modified}(?:\u200d{modified})*+",
    ]


@cache
def _marks() -> str:
    return _character_class("Mn", "Mc", "Me")


@cache
def _ignorable() -> str:
    return _character_class("Cc", "Cf")


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

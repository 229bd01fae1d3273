"""Names in the place of names: of the same kind, with as many words, each about as long.

A word always becomes the same word under one key, so that `Ada Lovelace` and `Lovelace` stay
together. Given names are of the kind that says nothing of a gender; family names, and what towns
and companies are made of, are those of the package faker.
"""

from collections.abc import Iterable, Sequence
from functools import cache

from teddy.model.errors import MissingExtraError
from teddy.service.redaction.secret import Secret

_GIVEN = """
Ali Alex Ariel Ash Avery Bailey Blake Brook Cameron Casey Charlie Dakota Dana Drew Eden
Ellis Elliot Emery Finley Frankie Harper Hayden Hollis Indigo Jackie Jamie Jay Jesse Jo
Jody Jordan Jules Kai Kelly Kendall Kerry Kim Kit Lane Lee Lennon Leslie Lou Marion
Marlowe Max Mel Morgan Nico Noel Parker Pat Peyton Phoenix Quinn Reese Remington Remy
Riley River Robin Rory Rowan Sage Sam Sasha Sawyer Shannon Sidney Skyler Spencer Stevie
Sutton Tatum Taylor Terry Toby Tracy Val Winter Wren Angel Alexis Armani Carmen Clarence
Cassidy Emerson Jaime Jocelyn Kennedy Oakley Santana Sullivan Whitney
"""
_SHORT, _LONG = 4, 7
"""Words of up to four letters are short, of more than seven long."""


class Pseudonyms:
    """Draws the names of one text, or of all texts under one key."""

    def __init__(self, secret: Secret, people: Iterable[str]) -> None:
        """`people` are the names of people in the text: the last word is the family's."""
        self._secret = secret
        self._families = {
            words[-1].casefold() for words in map(str.split, people) if len(words) > 1
        }

    def of(self, name: str, label: str) -> str | None:
        """Return a name of the same kind; None where there is none for the label."""
        words = name.split()
        match label.upper():
            case "PER" | "PERSON":
                return " ".join(self._person(words))
            case "LOC" | "GPE" | "LOCATION":
                return " ".join(self._town(word) for word in words)
            case "ORG" | "ORGANIZATION" | "ORGANISATION":
                return " ".join(self._company(words))
        return None

    def _person(self, words: Sequence[str]) -> Iterable[str]:
        for place, word in enumerate(words):
            is_last = len(words) > 1 and place == len(words) - 1
            is_family = is_last or (len(words) == 1 and word.casefold() in self._families)
            yield self._drawn("family" if is_family else "given", word)

    def _town(self, word: str) -> str:
        return self._drawn("town", word)

    def _company(self, words: Sequence[str]) -> Iterable[str]:
        for place, word in enumerate(words):
            is_last = len(words) > 1 and place == len(words) - 1
            yield self._drawn("ending" if is_last else "family", word)

    def _drawn(self, kind: str, word: str) -> str:
        every = _words()[kind]
        alike = [each for each in every if _length_class(each) == _length_class(word)] or every
        at = self._secret.draw(f"pseudonym {kind}", word.casefold()) % len(alike)
        if alike[at].casefold() == word.casefold():
            at = (at + 1) % len(alike)
        return alike[at]


def _length_class(word: str) -> int:
    return (len(word) > _SHORT) + (len(word) > _LONG)


@cache
def _words() -> dict[str, Sequence[str]]:
    """Return the words of each kind, in order. Raises MissingExtraError."""
    try:
        from faker.providers.address.en_US import Provider as Address
        from faker.providers.company.en_US import Provider as Company
        from faker.providers.person.en_US import Provider as Person
    except ModuleNotFoundError:
        raise MissingExtraError(
            "pseudonyms need the package faker: pip install 'teddy[redact]'"
        ) from None
    families = sorted(set(Person.last_names))
    towns = [
        family + suffix
        for place, family in enumerate(families)
        for suffix in (sorted(Address.city_suffixes)[place % len(Address.city_suffixes)],)
    ]
    endings = [each for each in Company.company_suffixes if " " not in each]
    return {
        "given": sorted(_GIVEN.split()),
        "family": families,
        "town": [*sorted(Address.city_prefixes), *towns],
        "ending": sorted(endings),
    }

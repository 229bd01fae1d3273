# ruff: noqa: RUF001 - Chinese has commas of its own
"""Texts to measure drift on, made up: English of four registers, Chinese, and code.

The same for the same seed.
"""

import random
from collections.abc import Callable, Sequence

Draw = Callable[[Sequence[str]], str]

PEOPLE = (
    "Anna Berg",
    "Otto Lind",
    "Mira Okafor",
    "Jonas Falk",
    "Ida Holm",
    "Samuel Reyes",
    "Priya Nair",
    "Karl Moser",
)
PLACES = (
    "Oslo",
    "Ghent",
    "Lund",
    "Port Ellen",
    "New Haven",
    "Nairobi",
    "Valencia",
    "the Harz mountains",
    "Riga",
)
FIRMS = (
    "Lindholm AB",
    "Northern Rail",
    "the Green Party",
    "Acme Insurance",
    "Radio Lund",
    "Moser & Sons Ltd.",
    "UNICEF",
)
THINGS = (
    "a bridge",
    "the old library",
    "two ferries",
    "a small orchestra",
    "its third factory",
    "the harvest",
    "wool",
)
NEWS = (
    "{person} told reporters in {place} on {day} that {firm} would rebuild {thing} by {year}.",
    "Police in {place} said {n} people were held after a quarrel over {thing}.",
    "Shares of {firm} fell {n} percent, their worst {day} since {year}.",
    "The mayor of {place}, {person}, has promised {thing} before winter; few believe it.",
)
WIKIPEDIA = (
    "{person} (born {year}) is a painter who lives in "
    "{place} and has illustrated {n} books about {thing}.",
    "Founded in {year}, {firm} was for a long time the largest employer in {place}.",
    "The river rises near {place}, flows {n} km to the "
    "north and passes {thing}, after which it is named.",
)
REVIEWS = (
    "The rooms were clean and {person} at the desk could "
    "not have been kinder, but {n} euros for breakfast?",
    "i'd never go back to {place}. cold soup, {thing} all over the floor, and nobody said sorry!",
    "Great value. We stayed {n} nights and saw {thing} from the window.",
    "ok i guess, bit far from everything",
)
TWEETS = (
    "Can't wait for {day}!! {place} here we come :) #{n}days",
    "@{handle} have you seen {thing}? lol",
    "RT @{handle}: {person} on {firm}, worth your time http://t.co/{n}x",
    "so tired today",
    "BEST. NIGHT. EVER. thanks {place}",
)
CHINESE = (
    "{人}昨天在{地}的市场买了{数}斤苹果，晚上请朋友吃饭。",
    "据{地}当地居民说，这座桥修了{数}年才完工。",
    "{人}认为，孩子们应该多读书，少看手机。",
    "{地}大学今年招收了{数}名学生，比去年多一些。",
    "下雨的时候，{人}喜欢坐在窗边听音乐。",
)
CODE = (
    "def {name}_{verb}(self, {name}: list[int]) -> int:\n "
    "   return sum(x ** {n} for x in {name} if x != {n})\n",
    "for {name} in range({n}):\n    if not "
    "self._{name}[{n}].is_{verb}():\n        raise ValueError({name}, {n})\n",
    'import {name}\n\n__all__ = ["{name}", "{verb}"]\n'
    "{name}.{verb}({n}, key=lambda x: (x[0], -x[1]))\n",
    '    {name} = {{"{verb}": {n}, "{name}": None}}\n    while '
    '{name}["{verb}"] > 0:\n        {name}["{verb}"] -= 1\n',
)


def english(n_texts: int, seed: int) -> list[str]:
    """Sentences from newspapers, encyclopaedias, reviews and short messages, in this proportion."""
    draw = random.Random(seed)  # noqa: S311
    registers = (NEWS, NEWS, WIKIPEDIA, REVIEWS, TWEETS)
    return [_english(draw, draw.choice(draw.choice(registers))) for _ in range(n_texts)]


def _english(draw: random.Random, pattern: str) -> str:
    return pattern.format(
        person=draw.choice(PEOPLE),
        place=draw.choice(PLACES),
        firm=draw.choice(FIRMS),
        thing=draw.choice(THINGS),
        day=draw.choice(("Monday", "Friday", "Sunday")),
        year=draw.randrange(1890, 2020),
        n=draw.randrange(2, 90),
        handle=draw.choice(("ottolind", "mira_o", "port_ellen_fc", "KarlM")),
    )


def chinese(n_texts: int, seed: int) -> list[str]:
    """Plain sentences."""
    draw = random.Random(seed)  # noqa: S311
    return [
        draw.choice(CHINESE).format(
            人=draw.choice(("王小梅", "李先生", "张老师", "我妹妹")),
            地=draw.choice(("杭州", "成都", "大连", "昆明")),
            数=draw.choice("三五七八九"),
        )
        for _ in range(n_texts)
    ]


def code(n_texts: int, seed: int) -> list[str]:
    """A few statements each."""
    draw = random.Random(seed)  # noqa: S311
    return [
        "".join(
            draw.choice(CODE).format(
                name=draw.choice(("items", "node", "row_count", "bufSize")),
                verb=draw.choice(("sort", "empty", "parse", "flush_all")),
                n=draw.randrange(64),
            )
            for _ in range(draw.randrange(1, 5))
        )
        for _ in range(n_texts)
    ]


def lower_cased(n_texts: int, seed: int) -> list[str]:
    """The English ones without a capital letter."""
    return [text.lower() for text in english(n_texts, seed)]

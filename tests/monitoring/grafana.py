"""The queries that Grafana sends when a dashboard is opened with its first choices."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, and where it stands."""

    where: str
    expression: str


def queries(board: dict[str, Any]) -> Iterator[Asked]:
    """Of all panels and marks."""
    values = {each["name"]: chosen(each) for each in board["templating"]["list"]}
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield Asked(
                f"{board['title']}, {panel['title']}, {target['refId']}",
                filled(target["expr"], values),
            )
    for mark in board["annotations"]["list"]:
        yield Asked(
            f"{board['title']}, mark {mark['name']}", filled(mark["target"]["expr"], values)
        )


def choices(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Of each variable that is looked up: a selector, and the label whose values are offered."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert found, variable["query"]
            yield found["series"], found["label"]


def chosen(variable: dict[str, Any]) -> str:
    """What stands for a variable before anybody has chosen."""
    if variable["type"] == "datasource":
        return "prometheus"
    assert variable["current"]["value"] == ["$__all"]
    value: str = variable["allValue"]
    return value


def filled(expression: str, values: dict[str, str]) -> str:
    """The expression with its variables replaced. Raises KeyError for an unknown one."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)

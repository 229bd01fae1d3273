"""Write the generated parts of the documentation: `make docs`.

A page is written by hand but for regions that are made, each under the name of its maker:

    <!-- made by `make docs`: settings -->
    ...
    <!-- end -->
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import EnumMeta
from functools import partial
from inspect import getdoc, getsource
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.service.observability import catalogue as service_catalogue
from teddy.service.settings import PREFIX, Settings
from teddy.training.job import catalogue as job_catalogue
from teddy.training.recipe import corpus_config, recipe, search_config, sections, words

DOCS = Path(__file__).parent
REGION = re.compile(r"(<!-- made by `make docs`: ([^\n]+) -->\n).*?(?=\n<!-- end -->)", re.DOTALL)

RECIPE_TABLES: Mapping[str, type] = {
    "a recipe": recipe.Recipe,
    "[[corpus]]": corpus_config.CorpusConfig,
    "a rule": corpus_config.RuleConfig,
    "[pieces]": words.PiecesConfig,
    "[features]": FeatureConfig,
    "[network]": NetworkConfig,
    "[embedding]": words.EmbeddingConfig,
    "[[lexicon]]": words.LexiconConfig,
    "[start]": recipe.StartConfig,
    "[training]": recipe.TrainingConfig,
    "[augment]": sections.AugmentConfig,
    "[transformer]": sections.TransformerConfig,
    "[distill]": sections.DistillConfig,
    "[update]": sections.UpdateConfig,
    "[pretrain]": sections.PretrainConfig,
    "[search]": search_config.SearchConfig,
    "an interval": search_config.Interval,
    "[export]": recipe.ExportConfig,
    "[card]": sections.CardConfig,
}
TYPE_NAMES: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    dict: "table",
}
OBVIOUS: dict[str, str] = {
    "bidirectional": "Read each sentence in both directions.",
    "cell": "The kind of recurrent layer.",
    "decoder": "`crf` chooses the best sequence of tags, `softmax` the best tag of each word.",
    "dev": "Files to measure on and to choose the best weights by; like `train`.",
    "device": "`auto` is the GPU if there is one.",
    "embedding_dropout": "Dropout on the embedding of a word.",
    "embedding_width": "Width of a word's embedding.",
    "encoding": "The character encoding of the files.",
    "epochs": "Times that the training data are read.",
    "evaluations_per_epoch": "How often the dev data are measured in each epoch.",
    "high": "The largest value.",
    "intended_use": "What the model is for.",
    "language": "The language of the model, such as `en`.",
    "learning_rate": "The highest learning rate.",
    "licence": "The licence of the data.",
    "low": "The smallest value.",
    "mixed_precision": "The number format to compute in.",
    "name": "The name of the corpus.",
    "weight_decay": "Weight decay of the optimiser, AdamW.",
}
"""Meanings of keys that their class does not explain, because the name says it."""


class Key(NamedTuple):
    """A key of a recipe's table: its type, its limits, its default and what its class says."""

    name: str
    type: Any
    limits: list[object]
    default: object
    is_required: bool
    meaning: str


def settings_table() -> str:
    """Return every setting of the service, with its default and what it sets."""
    rows = ["| Variable | Default | What it sets |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in ({}, (), None) else f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def keys_table(table: type) -> str:
    """Return every key of one table of a recipe; the class's own keys before inherited ones."""
    rows = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    own = table.__annotations__
    for key in sorted(keys_of(table), key=lambda key: key.name not in own):
        kind = ", ".join(filter(None, [type_name(key.type), *map(limit_name, key.limits)]))
        kind = f"[{kind}](#{key.name})" if table is recipe.Recipe and "table" in kind else kind
        rows.append(f"| `{key.name}` | {kind} | {default_shown(key)} | {key.meaning} |")
    return "\n".join(rows)


def keys_of(table: type) -> Iterator[Key]:
    """Yield the keys of a recipe's table, a pydantic model or a dataclass."""
    meanings = OBVIOUS | attribute_docstrings(table)
    if is_dataclass(table):
        for each in fields(table):
            is_required = each.default is MISSING
            yield Key(each.name, each.type, [], each.default, is_required, meanings[each.name])
    else:
        for name, field in table.model_fields.items():  # type: ignore[attr-defined]
            default = field.get_default(call_default_factory=True)
            meaning = meanings.get(name) or (getdoc(field.annotation) or "").partition("\n")[0]
            yield Key(name, field.annotation, field.metadata, default, field.is_required(), meaning)


def attribute_docstrings(table: type) -> dict[str, str]:
    """Return the strings under the attributes of a class and of those that it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(table.__mro__):
        if each.__module__.startswith("teddy."):
            definition = ast.parse(getsource(each)).body[0]
            for attribute, below in pairwise(getattr(definition, "body", ())):
                match attribute, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        found[name] = whole_sentence(name, " ".join(text.split()))
    return found


def whole_sentence(name: str, meaning: str) -> str:
    """Return a meaning that goes on where its key's name ends as one that stands for itself."""
    subject = f"The {name.replace('_', ' ')}"
    meaning = re.sub(r"^Of ", f"{subject} of ", meaning)
    return re.sub(r"^In words", f"{subject}, in words", meaning).replace("|", "\\|")


def type_name(kind: Any) -> str:
    """Return a type in the words of TOML; the choices themselves where there are few."""
    arguments = [each for each in get_args(kind) if each is not type(None)]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if isinstance(kind, EnumMeta):
        return ", ".join(f"`{each.value}`" for each in kind)  # type: ignore[var-annotated]
    if get_origin(kind) is tuple:
        return "array of tables" if is_table(arguments[0]) else f"array ({type_name(arguments[0])})"
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return " or ".join(map(type_name, arguments))
    return "table" if is_table(kind) else TYPE_NAMES[get_origin(kind) or kind]


def is_table(kind: Any) -> bool:
    """Return whether a type is a table of a recipe."""
    return kind in RECIPE_TABLES.values()


def limit_name(limit: object) -> str:
    """Return a limit of a number in words; nothing for other rules of a field."""
    match limit:
        case Ge(ge=least):
            return f"at least {least}"
        case Gt(gt=below):
            return f"above {below}"
        case Le(le=most):
            return f"at most {most}"
        case Lt(lt=above):
            return f"below {above}"
    return ""


def default_shown(key: Key) -> str:
    """Return a default as TOML writes it."""
    if key.is_required:
        return "required"
    is_empty = key.default is None or is_table(type(key.default))
    return "" if is_empty else f"`{json.dumps(key.default)}`"


MAKERS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "metrics of the service": service_catalogue.metrics_table,
    "metrics of a training job": job_catalogue.metrics_table,
    **{f"keys of {name}": partial(keys_table, table) for name, table in RECIPE_TABLES.items()},
}


def remade(page: str) -> str:
    """Return a page with its regions made again. Raises KeyError for a region without a maker."""
    return REGION.sub(lambda match: f"{match[1]}\n{MAKERS[match[2]]()}\n", page)


def main() -> None:
    """Write the generated parts of every page."""
    for path in DOCS.glob("*.md"):
        page = path.read_text(encoding="utf-8")
        if remade(page) != page:
            path.write_text(remade(page), encoding="utf-8")
            print(f"made docs/{path.name}")


if __name__ == "__main__":
    main()

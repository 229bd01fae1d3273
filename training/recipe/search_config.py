"""The `[search]` table of a recipe: the values that `teddy search` searches, and their ranges.

[search.ranges]
"training.learning_rate" = {low = 1e-4, high = 1e-2, log = true}
"network.layers" = {low = 1, high = 3}
"network.cell" = ["lstm", "gru"]
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field, ValidationError, field_validator

from teddy.model.system.toml import KeyPath, MisfitError, dotted, first_problem, put_value
from teddy.training.recipe.corpus_config import Table

Scalar: TypeAlias = str | int | float | bool

_FIXED = ("name", "search")
"""Keys that a trial cannot have otherwise than the recipe."""


class Interval(Table):
    """Numbers from `low` to `high`, both included: whole ones if both are whole."""

    low: int | float
    """The lowest value."""
    high: int | float
    """The highest value."""
    log: bool = False
    """Whether values are drawn evenly by their logarithm, as for learning rates."""
    step: int | float | None = Field(default=None, gt=0)
    """The distance between two values. By default 1 for whole numbers, and none for others."""

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield keys whose values do not go with each other, and why."""
        if self.low >= self.high:
            yield "high", f"must be above low, not {self.high}"
        if self.log and self.low <= 0:
            yield "low", f"must be above 0 where log = true, not {self.low}"
        if self.step is None:
            return
        if self.log:
            yield "step", "has no meaning where log = true"
        if self.is_whole and not isinstance(self.step, int):
            yield "step", f"must be whole where low and high are, not {self.step}"
        n_steps = (self.high - self.low) / self.step
        if abs(n_steps - round(n_steps)) > 1e-6:
            yield "step", f"does not lead from {self.low} to {self.high}"


Range: TypeAlias = Interval | tuple[Scalar, ...]
"""Numbers in an interval, or one of several values."""


class SearchConfig(Table):
    """Ranges of values, and the settings of the search for the best F1 on dev."""

    ranges: dict[str, Range] = Field(min_length=1)
    """An interval, or an array of values to choose from, for each key by its full name in quotation
    marks."""
    trials: int = Field(default=20, ge=1)
    """The training runs in all, pruned and diverged ones included."""
    seed: int = Field(default=1, ge=0)
    """The seed of the sampler. With one job, equal seeds give equal searches."""
    sampler: Literal["tpe", "random"] = "tpe"
    """`tpe`: learn from the trials that have ended (tree-structured Parzen estimators). `random`:
    draw values at random."""
    random_trials: int = Field(default=8, ge=1)
    """The trials that are drawn at random before `tpe` begins."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """`median`: end a trial whose best F1 is below the median of the others after as many
    evaluations. `hyperband`: give most trials few evaluations and the best of them more."""
    warmup_evaluations: int = Field(default=2, ge=0)
    """The evaluations before which no trial is pruned."""
    unpruned_trials: int = Field(default=4, ge=0)
    """The trials that must have ended before `median` prunes."""
    keep_checkpoints: bool = False
    """Whether all trials keep their checkpoints. If not, only the best does. All keep their model
    files."""

    @field_validator("ranges", mode="before")
    @classmethod
    def _read_ranges(cls, ranges: object) -> object:
        if not isinstance(ranges, Mapping):
            return ranges
        return {key: _read(key, value) for key, value in ranges.items()}

    def contradictions(self, recipe: BaseModel) -> Iterator[tuple[KeyPath, str]]:
        """Yield the ends of ranges that make no valid recipe, with the reason."""
        for key, values in self.ranges.items():
            place = ("search", "ranges", key)
            if key.split(".")[0] in _FIXED:
                yield place, "cannot be searched"
                return
            if isinstance(values, Interval):
                ends: list[tuple[str | int, Scalar]] = [("low", values.low), ("high", values.high)]
            else:
                ends = list(enumerate(values))
            for name, value in ends:
                reason = _misfit(recipe, key, value)
                if reason is not None:
                    yield (*place, name), reason


def put_values(recipe: BaseModel, values: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return the recipe with other values, and without `search`, to be validated.

    Raises: ValueError, saying why, where a key leads nowhere.
    """
    table = recipe.model_dump(mode="json", exclude_none=True, exclude={"search"})
    for key, value in values.items():
        put_value(table, key, value)
    return table


def _read(key: str, value: object) -> Range:
    """Check one range, for a clear error: pydantic names a problem for each of several types."""
    if isinstance(value, list | tuple):
        if len(value) < 2 or not all(isinstance(each, Scalar) for each in value):
            raise MisfitError(
                (key,), "wants two values or more, each a text, a number or a boolean"
            )
        if len({(type(each), each) for each in value}) < len(value):
            raise MisfitError((key,), "has a value twice")
        return tuple(value)
    if isinstance(value, Interval):
        return value
    if not isinstance(value, Mapping):
        raise MisfitError((key,), "should be {low = ..., high = ...} or an array of values")
    if any(isinstance(each, Mapping | list) for each in value.values()):
        raise MisfitError(
            (key,), f'put the whole key in quotation marks, such as "{key}.{next(iter(value))}"'
        )
    try:
        interval = Interval.model_validate(dict(value))
    except ValidationError as error:
        location, reason = first_problem(error, Interval)
        raise MisfitError((key, *location), reason) from None
    for name, reason in interval.contradictions():
        raise MisfitError((key, name), reason)
    return interval


def _misfit(recipe: BaseModel, key: str, value: Scalar) -> str | None:
    try:
        table = put_values(recipe, {key: value})
        type(recipe).model_validate_json(json.dumps(table))
    except ValidationError as error:
        location, reason = first_problem(error, type(recipe))
        return f"with {value!r}, {dotted(location)}: {reason}"
    except ValueError as error:
        return str(error)
    return None

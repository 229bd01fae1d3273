"""The tags that a network scores: `O`, and `B- I- E- S-` for each label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from teddy.model.tags.spans import Scheme, Span, write_tags

_PREFIXES = "BIES"
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TagSet:
    """The labels of a model and their K = 1 + 4 * len(labels) BIOES tags, numbered from `O` = 0.

    Raises ValueError when a label is empty or comes twice.
    """

    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if "" in self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError(
                f"labels must be different and not empty: {', '.join(map(repr, self.labels))}"
            )

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """All tags by number: O, B-first, I-first, E-first, S-first, B-second, ..."""
        return ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in _PREFIXES))

    def index(self, tag: str) -> int:
        """Return the number of a tag. Raises KeyError for one that is not of this set."""
        return self._index_of_tag[tag]

    def label_of(self, tag_index: int) -> str | None:
        """Return the label of the tag with this number, or None for `O`."""
        return None if tag_index == 0 else self.labels[(tag_index - 1) // len(_PREFIXES)]

    def allowed_transitions(self) -> list[list[bool]]:
        """Tell whether BIOES lets tag `j` follow tag `i`. Shape: [K][K], `i` first."""
        return [[self._may_follow(before, after) for after in self.tags] for before in self.tags]

    def allowed_first(self) -> list[bool]:
        """Tell whether a sequence may begin with this tag. Shape: [K]."""
        return [tag[0] in "OBS" for tag in self.tags]

    def allowed_last(self) -> list[bool]:
        """Tell whether a sequence may end with this tag. Shape: [K]."""
        return [tag[0] in "OES" for tag in self.tags]

    def encode(self, spans: Iterable[Span], n_words: int) -> list[int]:
        """Write spans, in words, as one tag number per word.

        Raises ValueError when a span is empty, overlaps another, or lies outside the words, and
        KeyError for a label that is not of this set.
        """
        return [self._index_of_tag[tag] for tag in write_tags(spans, n_words, Scheme.BIOES)]

    def decode(self, tag_indices: Sequence[int]) -> list[Span]:
        """Read the spans, in words, of a sequence of tag numbers, repaired as `read_tags` does."""
        _, starts, ends, labels = self.decode_rows(np.array([tag_indices], dtype=np.int64))
        return [
            Span(int(start), int(end), self.labels[label])
            for start, end, label in zip(starts, ends, labels, strict=True)
        ]

    def decode_rows(self, tags: Indices) -> tuple[Indices, Indices, Indices, Indices]:
        """Read the spans of many sequences at once, as `read_tags` does; padding is `O`.

        Shape: tags [B, T] -> (row, start, end, label index) of each span, in the order of rows and
        words, each [spans].
        """
        # A column of O behind each row ends what is open, and stands before the next row.
        closed = np.zeros((tags.shape[0], tags.shape[1] + 1), dtype=np.int64)
        closed[:, :-1] = tags
        flat = closed.ravel()
        before = np.concatenate((flat[:1] * 0, flat[:-1]))
        borders = np.flatnonzero(self._begins[before, flat])
        labels = self._label_number[flat[borders]]
        # Between two borders lies a span or, where the tag is O, nothing.
        opening = np.flatnonzero(labels >= 0)
        rows, starts = np.divmod(borders[opening], closed.shape[1])
        ends = borders[opening + 1] - rows * closed.shape[1] if len(opening) else starts
        return rows, starts, ends, labels[opening]

    @staticmethod
    def _may_follow(before: str, after: str) -> bool:
        if before[0] in "BI":
            return after[0] in "IE" and before[2:] == after[2:]
        return after[0] in "OBS"

    @cached_property
    def _index_of_tag(self) -> dict[str, int]:
        return {tag: index for index, tag in enumerate(self.tags)}

    @cached_property
    def _label_number(self) -> Indices:
        """The label index of each tag, -1 for `O`. Shape: [K]."""
        return np.append(-1, np.repeat(np.arange(len(self.labels)), len(_PREFIXES)))

    @cached_property
    def _begins(self) -> NDArray[np.bool_]:
        """Whether an entity begins or ends between tags `i` and `j`. Shape: [K, K]."""

        def begins(before: str, after: str) -> bool:
            goes_on = before[0] in "BI" and self._may_follow(before, after)
            return not goes_on and (before, after) != ("O", "O")

        return np.array([[begins(before, after) for after in self.tags] for before in self.tags])

"""Many texts, cut into requests of bounded size."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", str, bytes)


class Chunks(Generic[Item]):
    """Collects items into chunks of at most `most_items`, and of `most_size` characters or bytes.

    An item that is larger is a chunk of its own.
    """

    def __init__(self, most_items: int, most_size: int) -> None:
        if most_items < 1:
            raise ValueError(f"at least one text must travel at a time, not {most_items}")
        self._most_items = most_items
        self._most_size = most_size
        self._items: list[Item] = []
        self._size = 0

    def of(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """All the items in chunks. No item is taken before those of the last chunk were of use."""
        for item in items:
            yield from self.add(item)
        yield from self.rest()

    def add(self, item: Item) -> Iterator[list[Item]]:
        """Put one more; gives the chunks that are complete now."""
        if self._items and self._size + len(item) > self._most_size:
            yield self._take()
        self._items.append(item)
        self._size += len(item)
        if len(self._items) == self._most_items or self._size >= self._most_size:
            yield self._take()

    def rest(self) -> Iterator[list[Item]]:
        """What is left when there are no more items."""
        if self._items:
            yield self._take()

    def _take(self) -> list[Item]:
        items, self._items, self._size = self._items, [], 0
        return items

"""Lines out of a stream of bytes that comes in pieces, in bounded memory."""

BLANK = b" \t\r"  # what JSON allows around a value, without the newline


class LineSplitter:
    """Cuts pieces into the lines that they make together, without their ends; blank lines are left out.

    A line of more than `max_bytes` is given as None, at once, and the rest of it is passed over without being kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun = bytearray()
        """The line whose end has not come. One buffer: a client may send it byte by byte."""
        self._skipping = False

    def feed(self, piece: bytes) -> list[bytes | None]:
        """The lines that end in `piece`, or grow too long in it."""
        first, *others = piece.split(b"\n")
        lines = self._extend(first)
        for other in others:
            lines += self.end()
            lines += self._extend(other)
        return lines

    def end(self) -> list[bytes | None]:
        """The line that has begun, if any: a newline has come, or the last piece."""
        line = bytes(self._begun).strip(BLANK)
        self._begun.clear()
        self._skipping = False
        return [line] if line else []

    def _extend(self, part: bytes) -> list[bytes | None]:
        if self._skipping:
            return []
        self._begun += part
        if len(self._begun) <= self._max_bytes:
            return []
        self._begun.clear()
        self._skipping = True
        return [None]

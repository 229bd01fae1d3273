"""How much may be under way at the same time."""

import asyncio


class Window:
    """Room for `max_lines` lines of `max_bytes` bytes together; what comes while it is empty gets in, however large.

    For one who enters and one who leaves: a stream's reader and its writer.
    """

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._lines = self._bytes = 0
        self._left = asyncio.Event()

    async def enter(self, n_lines: int, n_bytes: int) -> None:
        """Take room, once there is enough."""
        while self._lines and (self._lines + n_lines > self._max_lines or self._bytes + n_bytes > self._max_bytes):
            self._left.clear()
            await self._left.wait()
        self._lines += n_lines
        self._bytes += n_bytes

    def leave(self, n_lines: int, n_bytes: int) -> None:
        """Give room back."""
        self._lines -= n_lines
        self._bytes -= n_bytes
        self._left.set()

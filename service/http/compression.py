"""Decompress bodies piece by piece, so that a small body never expands to a huge one in memory."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from backports import zstd

from teddy.service.errors import CompressionError, EncodingError

PIECE_BYTES = 65536
SLICE_BYTES = 4096
"""Compressed bytes per step. A slice of empty zstd frames, the worst case, takes 4 ms."""
GZIP_WINDOW_BITS = 31  # zlib's way to say: a gzip header, and the largest window there is
ZSTD_WINDOW_LOG = 23
"""8 MiB, all that HTTP clients may rely on (RFC 9659); a frame could ask for 2 GiB."""


class Decompressor(Protocol):
    """A decompressor of one gzip member or one zstd frame."""

    @property
    def eof(self) -> bool:
        """Whether the member is complete."""

    @property
    def unused_data(self) -> bytes:
        """The bytes after its end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most `max_length` bytes; fewer once all the input is used up."""


class GzipMember:
    """zlib's decompressor, which keeps unused input as zstd's does."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(GZIP_WINDOW_BITS)

    @property
    def eof(self) -> bool:
        """Whether the member is complete."""
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        """The bytes after its end."""
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most `max_length` bytes. Raises zlib.error for invalid gzip."""
        waiting = self._zlib.unconsumed_tail
        return self._zlib.decompress(waiting + data if waiting else data, max_length)


def zstd_frame() -> zstd.ZstdDecompressor:
    """Return a decompressor of one frame, with a window of a size that a server can afford."""
    return zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    )


DECOMPRESSORS: Mapping[str, Callable[[], Decompressor]] = {
    "gzip": GzipMember,
    "x-gzip": GzipMember,  # the same by its old name (RFC 9110)
    "zstd": zstd_frame,
}


class Unpacker:
    """Decompress one body of at most `most_members` gzip members or zstd frames; None: no limit.

    Raises EncodingError for an unknown `coding`.
    """

    def __init__(self, coding: str, *, most_members: int | None = None) -> None:
        if coding not in DECOMPRESSORS:
            raise EncodingError("The body's Content-Encoding must be 'gzip' or 'zstd', or none.")
        self._begin = DECOMPRESSORS[coding]
        self._member = self._begin()
        self._n_members = 1
        self._most_members = most_members

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Decompress the next bytes of the body; yield pieces of at most PIECE_BYTES, maybe empty.

        Each piece is a short step of work, done when it is asked for. Take all of them before you
        pass the next `data`. Raises CompressionError for invalid input.
        """
        try:
            for start in range(0, len(data), SLICE_BYTES):
                yield from self._unpack(data[start : start + SLICE_BYTES])
        except (zlib.error, zstd.ZstdError):
            raise CompressionError(
                "The body cannot be unpacked as its Content-Encoding says."
            ) from None

    def finish(self) -> None:
        """Raise CompressionError if the body is incomplete."""
        if not self._member.eof:
            raise CompressionError("The compressed body ends too early.")

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        full = False  # a full piece: more may follow
        while data or full:
            if self._member.eof:
                self._next_member()
            piece = self._member.decompress(data, PIECE_BYTES)
            data = self._member.unused_data if self._member.eof else b""
            full = len(piece) == PIECE_BYTES and not self._member.eof
            if piece:
                yield piece
        yield b""

    def _next_member(self) -> None:
        self._n_members += 1
        if self._most_members is not None and self._n_members > self._most_members:
            raise CompressionError(
                f"The compressed body has more than {self._most_members} members or frames."
            )
        self._member = self._begin()

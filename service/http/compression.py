"""Content-Encoding undone piece by piece: what unpacks to a thousand times its size is never held as a whole."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from backports import zstd

from teddy.service.errors import CompressionError, EncodingError

PIECE_BYTES = 65536
SLICE_BYTES = 4096
"""Packed bytes that are worked on at once. A slice of nothing but empty zstd frames, the worst,
takes 4 ms."""
GZIP_WINDOW_BITS = 31  # zlib's way to say: a gzip header, and the largest window there is
ZSTD_WINDOW_LOG = 23
"""8 MiB, all that a sender may count on over HTTP (RFC 9659); a frame could ask for 2 GiB."""


class Decompressor(Protocol):
    """What unpacks one gzip member or one zstd frame."""

    @property
    def eof(self) -> bool:
        """Whether the member is complete."""

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most `max_length` bytes; less, once all that was given is used up."""


class GzipMember:
    """zlib's decompressor, keeping what it was given and could not use yet, as zstd's does."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(GZIP_WINDOW_BITS)

    @property
    def eof(self) -> bool:
        """Whether the member is complete."""
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most `max_length` bytes. Raises zlib.error for what is no gzip."""
        waiting = self._zlib.unconsumed_tail
        return self._zlib.decompress(waiting + data if waiting else data, max_length)


def zstd_frame() -> zstd.ZstdDecompressor:
    """What unpacks one frame with a window of a size that a server can afford."""
    return zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    )


DECOMPRESSORS: Mapping[str, Callable[[], Decompressor]] = {
    "gzip": GzipMember,
    "x-gzip": GzipMember,  # the same by its old name (RFC 9110)
    "zstd": zstd_frame,
}


class Unpacker:
    """A body's decompressor; `most_members` gzip members or zstd frames may follow each other, any number if None.

    Raises EncodingError for a `coding` that is not known here.
    """

    def __init__(self, coding: str, *, most_members: int | None = None) -> None:
        if coding not in DECOMPRESSORS:
            raise EncodingError("The body's Content-Encoding must be 'gzip' or 'zstd', or none.")
        self._begin = DECOMPRESSORS[coding]
        self._member = self._begin()
        self._n_members = 1
        self._most_members = most_members

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What `data`, the next bytes of the body, unpacks to, in pieces of at most PIECE_BYTES; some may be empty.

        Each piece is a short step of work, done when it is asked for; ask for all before going on
        to the next `data`. Raises CompressionError for what cannot be unpacked.
        """
        try:
            for start in range(0, len(data), SLICE_BYTES):
                yield from self._unpack(data[start : start + SLICE_BYTES])
        except (zlib.error, zstd.ZstdError):
            raise CompressionError(
                "The body cannot be unpacked as its Content-Encoding says."
            ) from None

    def finish(self) -> None:
        """Raises CompressionError if the body cannot end here."""
        if not self._member.eof:
            raise CompressionError("The compressed body ends too early.")

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        full = False  # a full piece: there may be more of it
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

"""Read the body of a response in bounded memory, whatever the version of urllib3.

Older versions of urllib3 (2.0.7 among them) decompress all that they have read at once, and any number of layers: 800
bytes can become 400 MB. Here the body is read as it was sent, and one layer of gzip is decompressed piece by piece.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from urllib3.exceptions import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

__all__ = ["ACCEPT_ENCODING", "PIECE_BYTES", "read_pieces"]

ACCEPT_ENCODING = "gzip"  # the one compression that is decompressed here
PIECE_BYTES = 64 * 1024
_GZIP_WBITS = 16 + zlib.MAX_WBITS  # zlib's way to ask for a gzip header and checksum


def read_pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body in pieces of at most `PIECE_BYTES`, decompressed if it is gzip.

    A body with any other Content-Encoding, which no request here asks for, is not decompressed.

    Raises
    ------
    urllib3.exceptions.HTTPError
        If the body breaks off or is not the gzip that its header promises.
    """
    blocks: Iterator[bytes] = response.raw.stream(PIECE_BYTES, decode_content=False)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return _decompress(blocks) if encoding in {"gzip", "x-gzip"} else blocks


def _decompress(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the content of the gzip members; bytes after the first member that are not another one are ignored."""
    member, is_first = None, True
    for block in blocks:
        rest = block
        while rest:
            if member is None:
                member = zlib.decompressobj(_GZIP_WBITS)
            try:
                piece = member.decompress(rest, PIECE_BYTES)
            except zlib.error as error:
                if not is_first:
                    return
                raise DecodeError("the body is not gzip") from error
            if piece:
                yield piece
            rest = member.unconsumed_tail
            if member.eof:
                rest, member, is_first = member.unused_data, None, False
    if member is not None and is_first:
        raise DecodeError("the gzip breaks off")

"""Messages between the server and its workers: four bytes of length, then JSON."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import asyncio

__all__ = ["pack", "read_frame", "receive_frame"]

_LENGTH = struct.Struct(">I")


def pack(message: dict[str, Any]) -> bytes:
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message, or None at the stream's end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


async def receive_frame(stream: asyncio.StreamReader) -> dict[str, Any]:
    """The next message.

    Raises
    ------
    asyncio.IncompleteReadError
        At the stream's end.
    """
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    message: dict[str, Any] = json.loads(await stream.readexactly(length))
    return message

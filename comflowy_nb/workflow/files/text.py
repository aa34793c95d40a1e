"""Read text files within limits of size, nesting and aliases, in the encodings that editors and shells write."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.parser import Parser, RoundTripParser
from ruamel.yaml.scanner import RoundTripScanner, Scanner

from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, TOO_DEEP

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_JSON_BYTES", "MAX_YAML_BYTES", "bounded_yaml", "decode_text", "read_text", "without_bom"]

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_YAML_BYTES = 1024 * 1024  # parsing this much YAML takes about ten seconds
_MAX_YAML_NODES = 100_000  # with every alias expanded

_BOM = re.compile(r"\A(\s*)\ufeff+")


def decode_text(content: bytes) -> str:
    """Decode text whose first two characters are ASCII, or that begins with a BOM. Line ends become line feeds.

    The shell of Windows writes UTF-16 where output is redirected to a file.

    Raises
    ------
    UnicodeDecodeError
        If it is in another encoding.
    """
    text = content.decode(json.detect_encoding(content))  # also right for YAML: its first characters are ASCII
    return without_bom(text.replace("\r\n", "\n").replace("\r", "\n"))


def without_bom(text: str) -> str:
    """Remove a BOM before the first character that is not white space, as pasted text may have one."""
    return _BOM.sub(r"\1", text)


def read_text(path: Path, max_bytes: int) -> str:
    """Return the text of a regular file in UTF-8, UTF-16 or UTF-32.

    A device or a pipe is not read: it may never end, or never begin.

    Raises
    ------
    OSError
        If it can't be read, is not a regular file, or is larger than `max_bytes`; `strerror` says which.
    UnicodeDecodeError
        If it is in another encoding.
    """
    # O_NONBLOCK: opening a pipe returns at once
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes // 1024**2} MiB")
    return decode_text(content)


def bounded_yaml(typ: str = "safe") -> YAML:
    """Return a YAML reader that refuses deep nesting, and aliases that stand for more than `_MAX_YAML_NODES` nodes.

    It raises MarkedYAMLError, as for any other error of the text.
    """
    yaml = YAML(typ=typ, pure=True)
    if typ == "rt":
        yaml.Scanner, yaml.Parser = _BoundedRoundTripScanner, _BoundedRoundTripParser
    else:
        yaml.Scanner, yaml.Parser = _BoundedScanner, _BoundedParser
    return yaml


class _Bounds:
    """Mixed into a parser of ruamel.yaml: counts the nodes of each event before the composer gets it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._open: list[tuple[str | None, int]] = []  # collections not ended yet: anchor, and nodes before it
        self._nodes = 0
        self._nodes_of: dict[str, int] = {}  # anchor -> nodes of what it marks

    def get_event(self) -> Any:
        event = super().get_event()  # type: ignore[misc]
        problem = self._count(event)
        if problem is not None:
            raise MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return event

    def _count(self, event: Any) -> str | None:
        if isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in self._open):
                return f"the alias *{event.anchor} refers to a node that contains it"
            self._nodes += self._nodes_of.get(event.anchor, 1)
        elif isinstance(event, CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor is not None:
                self._nodes_of[anchor] = self._nodes - before
        elif isinstance(event, NodeEvent):
            self._nodes += 1
            if isinstance(event, CollectionStartEvent):
                self._open.append((event.anchor, self._nodes - 1))
                if len(self._open) > MAX_DEPTH:
                    return TOO_DEEP
            elif event.anchor is not None:
                self._nodes_of[event.anchor] = 1
        if self._nodes > _MAX_YAML_NODES:
            return f"it has more than {_MAX_YAML_NODES:,} values with aliases expanded"
        return None


class _FlowBounds:
    """Mixed into a scanner, which reads ahead of the parser: its time grows with the square of open brackets."""

    def fetch_flow_collection_start(self, *args: Any, **options: Any) -> None:
        if len(self.flow_context) == MAX_DEPTH:  # type: ignore[attr-defined]
            raise MarkedYAMLError(problem=TOO_DEEP, problem_mark=self.reader.get_mark())  # type: ignore[attr-defined]
        super().fetch_flow_collection_start(*args, **options)  # type: ignore[misc]


class _BoundedParser(_Bounds, Parser):
    pass


class _BoundedRoundTripParser(_Bounds, RoundTripParser):
    pass


class _BoundedScanner(_FlowBounds, Scanner):
    pass


class _BoundedRoundTripScanner(_FlowBounds, RoundTripScanner):
    pass

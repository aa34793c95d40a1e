"""One list of images from the two that the API gives: `output_images`, and `full_outputs` by node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from comflowy_nb.services.base import Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MAX_OUTPUTS", "by_number", "limited", "read_outputs"]

MAX_OUTPUTS = 1000  # of one run: each is a download and a row of the history

# what a storage service adds to sign an address; it differs each time the same image is named
_SIGNING = re.compile(
    r"(?i)x-(amz|goog|oss|cos|obs)-.+|signature|sig|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid"
    r"|ossaccesskeyid|security-token|token|se|sp|sv|sr|st|skoid|sktid|skt|ske|sks|skv"
)


def read_outputs(output_images: Any, full_outputs: Any) -> tuple[tuple[Output, ...], str | None]:
    """Every image once, in an order that is the same at every check.

    First `output_images` as listed, then what only `full_outputs` has, by node. An image's node is known from
    `full_outputs`.

    Returns
    -------
    The images, and a remark for a person where something in the lists was odd.
    """
    odd: list[str] = []
    node_of: dict[str, tuple[str, int]] = {}
    url_of: dict[str, str] = {}
    for node, position, url in _by_node(full_outputs, odd):
        same = _same(url)
        if same not in node_of:
            node_of[same] = (node, position)
            url_of[same] = url
    listed: dict[str, str] = {}
    for url in _urls(output_images, "output_images", odd):
        listed.setdefault(_same(url), url)
    loose = 0
    outputs: list[Output] = []
    for same, url in {**listed, **{same: url for same, url in url_of.items() if same not in listed}}.items():
        if same in node_of:
            node, position = node_of[same]
            outputs.append(Output(len(outputs), node, position, url))
        else:
            outputs.append(Output(len(outputs), None, loose, url))
            loose += 1
    kept, more = limited(outputs)
    return kept, "; ".join(dict.fromkeys((*more, *odd))) or None


def limited(outputs: Sequence[Output]) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    """The first `MAX_OUTPUTS` outputs of a run, and a remark if there are more."""
    if len(outputs) <= MAX_OUTPUTS:
        return tuple(outputs), ()
    remark = f"the service lists {len(outputs)} outputs, and only the first {MAX_OUTPUTS} of a run are fetched"
    return tuple(outputs[:MAX_OUTPUTS]), (remark,)


def _by_node(full_outputs: Any, odd: list[str]) -> Iterator[tuple[str, int, str]]:
    if full_outputs is None:
        return
    if not isinstance(full_outputs, dict):
        odd.append("full_outputs is no object")
        return
    for node in sorted(full_outputs, key=by_number):
        entry = full_outputs[node]
        where = f"full_outputs of node {node[:40]}"
        images = entry.get("images") if isinstance(entry, dict) else entry
        if entry is None:
            continue
        if not isinstance(entry, dict | list):
            odd.append(f"{where} is no object")
            continue
        seen: set[str] = set()
        for url in _urls(images, where, odd):
            if _same(url) not in seen:
                yield node, len(seen), url
                seen.add(_same(url))


def _urls(images: Any, where: str, odd: list[str]) -> Iterator[str]:
    if images is None:
        return
    if isinstance(images, str | dict):
        odd.append(f"{where} is no list")
        images = [images]
    if not isinstance(images, list):
        odd.append(f"{where} is no list")
        return
    missing = 0
    for image in images:
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(url, str) and url.strip():
            yield url.strip()
        else:
            missing += 1
    if missing:
        odd.append(f"{missing} of {len(images)} entries of {where} {'is' if missing == 1 else 'are'} no address")


def _same(url: str) -> str:
    """What stands for an image: its address without what signs it."""
    try:
        parts = urlsplit(url)
        query = [(name, value) for name, value in parse_qsl(parts.query, True) if not _SIGNING.fullmatch(name)]
        return parts._replace(query=urlencode(query), fragment="").geturl()
    except ValueError:
        return url


def by_number(node: str) -> tuple[tuple[int, int, str], ...]:
    """Node ids as a person orders them: 3 before 10, 5:1 before 5:12."""
    parts = node.split(":")
    return tuple((0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts)

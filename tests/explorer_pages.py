"""Documents of the explorer with images whose colours are their coordinates, and pages made of them."""

from __future__ import annotations

import hashlib
import io
from itertools import product

from PIL import Image, ImageDraw

from comflowy_nb.sharing.page import page_html

SIZE = (96, 96)
STEP = 24  # of the colour, for each index on an axis: red is the first axis, green the second, blue the third


def axis(name, labels, kind="number"):
    return {"name": name, "label": name, "kind": kind, "values": [{"text": str(v), "label": str(v)} for v in labels]}


CFG = axis("cfg", [2, 4, 6, 8])
SAMPLER = axis("sampler", ["euler", "dpmpp_2m", "lcm"], "list")
SEED = axis("seed", [11, 12])


def colour_of(at):
    return tuple((30 + STEP * index) % 256 for index in (*at, 0, 0)[:3])


def draw(at, *, size=SIZE, text=True):
    """Return a PNG whose middle has the colour of its coordinates."""
    image = Image.new("RGB", size, colour_of(at))
    if text:
        ImageDraw.Draw(image).text((4, 4), ",".join(map(str, at)), fill="white")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def document(axes=(CFG, SAMPLER, SEED), *, changes=None, left_out=(), columns=(), title="s1 default"):
    """Return a document with an item for each combination; `changes` by coordinates replaces some of its content."""
    items = []
    for at in product(*(range(len(each["values"])) for each in axes)):
        if at in left_out:
            continue
        number = len(items)
        values = [(each["label"], each["values"][index]["label"]) for each, index in zip(axes, at, strict=True)]
        sha256 = hashlib.sha256(repr(at).encode()).hexdigest()
        image = {
            "ref": f"s1.{number + 1}", "key": f"r{number + 1}[0]", "size": list(SIZE), "video": False, "rating": None,
            "rejected": False, "note": "", "others": [], "scores": {}, "problem": None, "sha256": sha256,
        }  # fmt: skip
        item = {
            "id": number, "ref": f"s1.{number + 1}", "run": f"r{number + 1}", "at": list(at), "status": "success",
            "text": "", "error": None, "can": {"run": False, "retry": False},
            "caption": ", ".join(f"{name} {value}" for name, value in values),
            "params": [list(each) for each in values], "values": {}, "images": [image],
        }  # fmt: skip
        change = dict((changes or {}).get(at, {}))
        image.update(change.pop("image", {}))
        item.update(change)
        items.append(item)
    return {
        "version": 1, "title": title, "sources": ["s1"], "axes": list(axes), "columns": list(columns), "items": items,
        "thumbnail_sizes_px": [256, 512],
    }  # fmt: skip


def images_of(content, *, size=SIZE):
    """Return an image for each key of a document."""
    return {
        image["key"]: ("image/png", draw(item["at"], size=size))
        for item in content["items"]
        for image in item["images"]
    }


def write_page(path, content, *, full=None, size=SIZE):
    path.write_text(page_html(content, images_of(content, size=size), full or {}), encoding="utf-8")
    return path

"""Read, write and change archives in tests."""

from __future__ import annotations

import io
import json
import zipfile

from PIL import Image
from PIL.PngImagePlugin import PngInfo

PROMPTS = ("a glass bottle in the sea, café", "a red barn")


def png(colour=(10, 20, 30), **texts):
    """Return a PNG; texts become compressed chunks."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text, zip=True)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_zip(path):
    """Return name -> content of the files in a zip file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_manifest(path):
    return json.loads(read_zip(path)["manifest.json"])


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def change_manifest(path, change):
    """Write an archive with another manifest; `change` gets the decoded one."""
    files = read_zip(path)
    manifest = json.loads(files["manifest.json"])
    changed = change(manifest)
    files["manifest.json"] = json.dumps(manifest if changed is None else changed).encode()
    return write_zip(path.with_name("changed.zip"), files)


def contains_text(parts, text):
    """Return whether one of several contents contains a text, in UTF-8, UTF-16, Latin-1 or with the escapes of JSON."""
    escaped = "".join(char if " " <= char <= "~" else f"\\u{ord(char):04x}" for char in text)
    forms = {text.encode(code, "surrogatepass") for code in ("utf-8", "utf-16-le", "utf-16-be")}
    forms.add(escaped.encode("ascii"))
    forms.add(text.encode("latin-1", "replace"))
    return any(form in part for part in parts for form in forms)


def all_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

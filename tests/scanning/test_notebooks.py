"""A key is found in every part of a notebook; `--fix` blanks outputs and nothing else."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import zipfile

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scanning_canaries import TOKEN, TOKEN_KIND

from comflowy_nb.cli import main as cli
from comflowy_nb.scanning.files import scan_file

HALF = len(TOKEN) // 2
IMAGE = Image.effect_noise((24, 16), 60).convert("RGB")


def encode(kind, **options):
    buffer = io.BytesIO()
    IMAGE.save(buffer, kind, **options)
    return buffer.getvalue()


def png(**texts):
    info = PngInfo()
    for name, (text, is_compressed) in texts.items():
        info.add_itxt(name, text, zip=is_compressed) if name.startswith("i") else info.add_text(
            name, text, zip=is_compressed
        )
    return encode("PNG", pnginfo=info)


def exif(*, wide=False):
    data = Image.Exif()
    if wide:
        text = f"{TOKEN} and more".encode("utf-16-le")
        data[0x8769] = {0x9286: b"UNICODE\0" + text}  # Pillow 10 does not save a change of `get_ifd`
    else:
        data[0x010E] = f"made with {TOKEN}"
    return data


XMP = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><d>{TOKEN}</d></x:xmpmeta>".encode()


def jpeg_with_xmp():
    """Return a JPEG with XMP in its first segment, where Pillow 11 writes it; Pillow 10 writes none."""
    content = encode("JPEG")
    segment = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    return content[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + content[2:]


GRAPH = json.dumps({"3": {"inputs": {"text": f"say \n{TOKEN}"}}})
IMAGES = {
    "PNG text": png(prompt=(GRAPH, False)),
    "PNG compressed text": png(prompt=(GRAPH * 3, True)),
    "PNG international text": png(iparameters=(TOKEN, False)),
    "PNG compressed international text": png(iparameters=(TOKEN, True)),
    "PNG Exif": encode("PNG", exif=exif()),
    "JPEG comment": encode("JPEG", comment=TOKEN.encode()),
    "JPEG Exif": encode("JPEG", exif=exif()),
    "JPEG Exif in UTF-16": encode("JPEG", exif=exif(wide=True)),
    "JPEG XMP": jpeg_with_xmp(),
    "WebP Exif": encode("WEBP", exif=exif()),
    "WebP XMP": encode("WEBP", xmp=XMP),
    "PNG, data after its end": png() + TOKEN.encode(),
    "PNG, truncated": png(prompt=(GRAPH, False))[:-30],
    "GIF comment": encode("GIF", comment=TOKEN.encode()),
}


def base64_of(content):
    return base64.b64encode(content).decode()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def v4():
    """Import nbformat only in the process that runs these tests, because that takes two seconds."""
    return nbformat().v4


def nbformat():
    return importlib.import_module("nbformat")


def display(data, **metadata):
    return v4().new_output("display_data", data, metadata=metadata)


def with_output(*outputs):
    cells = [v4().new_markdown_cell("# A title"), v4().new_code_cell("draw()", outputs=list(outputs))]
    return v4().new_notebook(cells=cells)


def with_cell(cell):
    return v4().new_notebook(cells=[v4().new_markdown_cell("# A title"), cell])


def with_widgets(state):
    notebook = with_output(display({"text/plain": "Form()"}))
    models = {"a1": {"model_module": "anywidget", "model_name": "AnyModel", "state": state}}
    notebook.metadata.widgets = {
        "application/vnd.jupyter.widget-state+json": {"state": models, "version_major": 2, "version_minor": 0}
    }
    return notebook


def traceback(*lines):
    return v4().new_output("error", ename="AuthError", evalue="no", traceback=list(lines))


BLANKED = {
    "cell 2, output 1 (stream)": lambda: with_output(v4().new_output("stream", text=f"a\n{TOKEN}\n")),
    "cell 2, output 2 (text/html)": lambda: with_output(
        display({"text/plain": "x"}), display({"text/html": f"<b>{TOKEN}</b>"})
    ),
    "cell 2, output 1 (text/plain)": lambda: with_output(
        v4().new_output("execute_result", {"text/plain": repr(TOKEN)})
    ),
    "cell 2, output 1 (application/json)": lambda: with_output(
        display({"application/json": {"a": [{"token": TOKEN}]}})
    ),
    "cell 2, output 1 (image/svg+xml)": lambda: with_output(
        display({"image/svg+xml": f"<svg><text>{TOKEN}</text></svg>"})
    ),
    "cell 2, output 1 (traceback)": lambda: with_output(
        traceback("one", f"\x1b[31m{TOKEN[:HALF]}\x1b[0m{TOKEN[HALF:]}")
    ),
    "cell 2, output 1 (metadata)": lambda: with_output(display({"text/plain": "x"}, tags=[TOKEN])),
    "widget state": lambda: with_widgets({"value": TOKEN}),
} | {
    f"cell 2, output 1 (image/{kind.lower()})": lambda kind=kind, content=content: with_output(
        display({f"image/{kind.lower()}": base64_of(content)})
    )
    for kind, content in {"PNG": IMAGES["PNG text"], "JPEG": IMAGES["JPEG Exif"], "WEBP": IMAGES["WebP XMP"]}.items()
}
KEPT = {
    "cell 2, line 3": lambda: with_cell(v4().new_code_cell(f"import x\n\nkey = '{TOKEN}'")),
    "cell 2, line 1": lambda: with_cell(v4().new_markdown_cell(f"the key is {TOKEN}")),
    "cell 2, metadata": lambda: with_cell(
        v4().new_code_cell("a", metadata={"papermill": {"parameters": {"k": TOKEN}}})
    ),
    "cell 2, attachment": lambda: with_cell(
        v4().new_markdown_cell(
            "![a](attachment:a.png)", attachments={"a.png": {"image/png": base64_of(IMAGES["PNG text"])}}
        )
    ),
    "notebook metadata": lambda: v4().new_notebook(metadata={"title": f"with {TOKEN}"}),
}


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a notebook as Jupyter does."""

    def write(notebook):
        path = tmp_path / "a.ipynb"
        nbformat().write(notebook, path)
        return path

    return write


def scan(capsys, *words):
    """Run the command; return its status and its output, which never contains a part of the canary."""
    status = cli.main(["scan", *map(str, words)])
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert not [start for start in range(3, len(TOKEN) - 6) if TOKEN[start : start + 6] in text]
    return status, text


@pytest.mark.parametrize("where", [*BLANKED, *KEPT])
def test_a_key_is_found_in_each_part(where, written, capsys):
    path = written((BLANKED | KEPT)[where]())
    before = path.read_bytes()
    status, text = scan(capsys, path)
    assert status == 1
    assert f"{path}: {where}: {TOKEN_KIND}\n" in text
    assert "Revoke" in text
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", BLANKED)
def test_fix_blanks_the_output_and_the_second_scan_finds_nothing(where, written, capsys):
    path = written(BLANKED[where]())
    path.chmod(0o640)
    before = nbformat().read(path, 4)
    status, text = scan(capsys, path, "--fix")
    assert status == 1
    assert f"{where}: {TOKEN_KIND}; output removed" in text
    after = nbformat().read(path, 4)
    nbformat().validate(after)
    assert [cell.source for cell in after.cells] == [cell.source for cell in before.cells]
    assert TOKEN.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["a.ipynb"]
    assert scan(capsys, path) == (0, "1 file searched, no keys or tokens found\n")


@pytest.mark.parametrize("where", KEPT)
def test_fix_never_changes_other_parts_and_names_the_next_step(where, written, capsys):
    path = written(KEPT[where]())
    before = path.read_bytes()
    status, text = scan(capsys, path, "--fix")
    assert status == 1
    assert "1 of 1 are not in an output: --fix does not change them. Remove them by hand." in text
    assert path.read_bytes() == before


def test_fix_changes_only_the_lines_of_the_output(written):
    """A notebook written in another format would be a large change in version control."""
    notebook = with_output(v4().new_output("stream", text="ü ☃\n"), display({"text/html": TOKEN}))
    path = written(notebook)
    before = path.read_text(encoding="utf-8").splitlines()
    scan_file(path, fix=True)
    after = path.read_text(encoding="utf-8").splitlines()
    start = next(at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1])
    assert "".join(before[:start]).count("☃") == 1
    end = next(at for at, pair in enumerate(zip(before[::-1], after[::-1], strict=False)) if pair[0] != pair[1])
    assert len(before) - start - end < 10


def test_fix_keeps_a_symbolic_link(written):
    path = written(BLANKED["widget state"]())
    link = path.with_name("link.ipynb")
    link.symlink_to(path.name)
    assert [finding.is_blanked for finding in scan_file(link, fix=True)] == [True]
    assert link.is_symlink()
    assert not scan_file(path)


@pytest.mark.parametrize("kind", IMAGES)
def test_a_key_in_the_metadata_of_an_image_is_found_in_each_place_of_the_image(kind, tmp_path, written, capsys):
    content = IMAGES[kind]
    uri = f"data:image/x;base64,{base64_of(content)}"
    places = {
        "image.bin": content,
        "page.html": f"<p>A page</p><img src='{uri}'>".encode(),
        "lines.txt": base64.encodebytes(content)
        if content[:4] == b"\x89PNG"
        else b"data:image/x;base64," + base64.b64encode(content),
        "bundle.zip": zipped(manifest_json="{}", image_png=content),
        "widget.ipynb": nbformat().writes(with_widgets({"images": [uri]})).encode(),
        "buffer.ipynb": nbformat()
        .writes(with_widgets({"buffers": [{"data": base64_of(content), "encoding": "base64", "path": ["a"]}]}))
        .encode(),
        "output.ipynb": nbformat().writes(with_output(display({"image/png": base64_of(content)}))).encode(),
    }
    for name, file in places.items():
        (tmp_path / name).write_bytes(file)
    status, text = scan(capsys, tmp_path)
    assert status == 1
    assert {name for name in places if f"{name}: " in text} == set(places)


def test_folders_pages_zips_and_texts_are_searched(tmp_path, capsys):
    (tmp_path / "deep" / ".ipynb_checkpoints").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "packed").write_text(TOKEN)
    (tmp_path / "deep" / ".env").write_text(f"A=1\nREPLICATE_API_TOKEN={TOKEN}\n")
    (tmp_path / "deep" / ".ipynb_checkpoints" / "x.ipynb").write_text(nbformat().writes(BLANKED["widget state"]()))
    (tmp_path / "utf16.txt").write_bytes(f"the key {TOKEN}".encode("utf-16"))
    (tmp_path / "broken.ipynb").write_text(f'{{"cells": [{{"source": "{TOKEN}"')
    (tmp_path / "history.sqlite").write_bytes(b"SQLite format 3\0\xff\xfe" + TOKEN.encode() + b"\0\x80")
    inner = zipped(a_ipynb=nbformat().writes(BLANKED["widget state"]()), b_txt="clean")
    (tmp_path / "r.zip").write_bytes(zipped(manifest_json=json.dumps({"note": TOKEN}), inner_zip=inner))
    status, text = scan(capsys, tmp_path)
    assert status == 1
    lines = [line.removeprefix(f"{tmp_path}{os.sep}") for line in text.splitlines()[:-2]]
    assert lines == [
        f"broken.ipynb: line 1: {TOKEN_KIND}",
        f"history.sqlite: line 1: {TOKEN_KIND}",
        f"r.zip: member manifest.json, line 1: {TOKEN_KIND}",
        f"r.zip: member inner.zip: {TOKEN_KIND}",
        f"utf16.txt: line 1: {TOKEN_KIND}",
        f"deep/.env: line 2: {TOKEN_KIND}",
        f"deep/.ipynb_checkpoints/x.ipynb: widget state: {TOKEN_KIND}",
    ]


def test_names_that_contain_a_key_are_hidden(tmp_path, capsys):
    (tmp_path / f"{TOKEN}.txt").write_text(f"key {TOKEN}")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"x/{TOKEN}.txt", TOKEN)
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 damaged")
    notebook = with_output(display({f"text/{TOKEN}": "x"}))
    (tmp_path / "c.ipynb").write_text(json.dumps(notebook))
    status, text = scan(capsys, tmp_path)
    assert status == 1
    assert "the name contains a secret" in text
    assert "c.ipynb: cell 2, output 1 (data): " in text
    assert "b.zip: not searched: the zip file is damaged" in text


def test_wrong_usage_and_unreadable_files_exit_with_2(tmp_path, capsys):
    assert scan(capsys, tmp_path / "none")[0] == 2
    assert scan(capsys, tmp_path / f"none {TOKEN}")[0] == 2
    with pytest.raises(SystemExit) as caught:
        cli.main(["scan"])
    assert caught.value.code == 2
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 damaged")
    assert scan(capsys, tmp_path)[0] == 2


def test_notebooks_with_unexpected_values_are_searched(tmp_path):
    for content in (
        {"cells": [{"source": None, "outputs": {"a": 1}, "attachments": [TOKEN]}], "metadata": 5},
        {"cells": [{"outputs": [TOKEN, None, {"data": [TOKEN]}]}]},
        {"cells": [{"outputs": [{"traceback": [1, None, TOKEN], "data": {"a/b": [1, TOKEN]}}]}]},
        {"worksheets": [{"cells": [{"input": TOKEN}]}]},
        [TOKEN],
    ):
        path = tmp_path / "a.ipynb"
        path.write_text(json.dumps(content))
        findings = scan_file(path)
        assert findings or "outputs" in json.dumps(content), content
        assert {finding.kind for finding in findings} == {TOKEN_KIND}, content

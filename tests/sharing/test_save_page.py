"""Saved pages: embedded images, images beside the page, and parts left out. `tests/browser` opens such pages."""

from __future__ import annotations

import base64
import json
import re

import pytest
from archives import png
from PIL import Image

import comflowy_nb
from comflowy_nb.sharing import save_page
from comflowy_nb.status import Status


def read_page(path):
    """Return the document of a page, and where it finds previews and images in full size."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r'>(\{"document": .*?)</script>', text, re.DOTALL)
    content = json.loads(found[1])
    blocks = dict(re.findall(r'<script type="text/plain" id="(\w+)">([A-Za-z0-9+/=]*)</script>', text))
    return content["document"], content["thumbs"], content["fulls"], blocks


@pytest.fixture
def sweep(make_sweep, axis):
    return make_sweep(axis("3::cfg", 4, 6), axis("6::text", "a", "b"), name="looks", ends={4: Status.FAILED})


def test_a_page_has_the_document_and_previews(sweep, tmp_path):
    sweep[0].images[0].rate(4, note="best")
    (path,) = sweep.save(tmp_path / "page.html")
    document, thumbs, fulls, blocks = read_page(path)
    assert [axis["label"] for axis in document["axes"]] == ["cfg", "text"]
    assert [item["ref"] for item in document["items"]] == ["s1.1", "s1.2", "s1.3", "s1.4"]
    assert document["items"][0]["images"][0]["rating"] == 4
    assert document["items"][3]["error"] == "no luck with 4"
    assert fulls == {}
    assert set(thumbs) == {"r1[0]", "r2[0]", "r3[0]"}
    preview = base64.b64decode(blocks[thumbs["r1[0]"]["id"]])
    assert preview == sweep[0].images[0].thumbnail(512).read_bytes()


def test_full_adds_the_originals(sweep, tmp_path):
    (path,) = sweep.save(tmp_path / "page.html", full=True)
    _, thumbs, fulls, blocks = read_page(path)
    assert set(fulls) == set(thumbs)
    assert base64.b64decode(blocks[fulls["r1[0]"]["id"]]) == sweep[0].images[0].bytes


def test_an_equal_page_is_not_written_twice_and_no_file_is_overwritten(sweep, tmp_path):
    (path,) = sweep.save(tmp_path / "page.html")
    assert sweep.save(tmp_path / "page.html") == [path]
    path.write_text("mine")
    assert sweep.save(tmp_path / "page.html") == [tmp_path / "page (2).html"]
    assert path.read_text() == "mine"


def test_runs_and_several_sweeps_are_one_page(sweep, make_sweep, axis, tmp_path):
    make_sweep(axis("3::cfg", 4, 6), axis("6::text", "a", "b"), key="second")
    (path,) = comflowy_nb.save(["s1", "s2"], tmp_path / "two.html")
    assert len(read_page(path)[0]["items"]) == 8
    (path,) = comflowy_nb.save(["s1.1", "s1.2"], tmp_path / "runs.html")
    assert [item["ref"] for item in read_page(path)[0]["items"]] == ["r1", "r2"]


def test_a_large_page_is_a_folder(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(save_page, "MAX_PAGE_BYTES", 100)
    assert sweep.save(tmp_path / "page.html", full=True) == [tmp_path / "page"]
    document, thumbs, fulls, blocks = read_page(tmp_path / "page" / "index.html")
    assert (len(document["items"]), blocks) == (4, {})
    assert thumbs["r1[0]"]["url"] == "previews/r1_0.jpg"
    assert (tmp_path / "page" / fulls["r1[0]"]["url"]).read_bytes() == sweep[0].images[0].bytes
    assert Image.open(tmp_path / "page" / thumbs["r1[0]"]["url"]).size == (96, 64)
    assert sweep.save(tmp_path / "page.html", full=True) == [tmp_path / "page (2)"]
    assert not list(tmp_path.glob(".comflowy-*"))


def test_the_plan_names_the_folder_before_it_is_written(sweep, tmp_path, monkeypatch, library):
    from comflowy_nb.sharing.save import SaveOptions, find_all, plan_save

    monkeypatch.setattr(save_page, "MAX_PAGE_BYTES", 100)
    plan = plan_save(library, find_all("s1", library.find), tmp_path / "page.html", SaveOptions())
    assert plan.lines[-1] == "too large for one file, so saved as a folder: page/index.html"
    assert not (tmp_path / "page").exists()


def test_notes_and_metadata_can_be_left_out(make_sweep, axis, library, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6), images=lambda _: [Image.new("RGB", (64, 64))])
    path = sweep[0].images[0].path
    path.write_bytes(png(secret="in the image"))
    sweep[0].images[0].rate(3, note="private note")
    (page,) = sweep.save(tmp_path / "page.html", full=True, without=["notes", "metadata"])
    _, _, fulls, blocks = read_page(page)
    content = base64.b64decode(blocks[fulls["r1[0]"]["id"]])
    assert b"iTXt" not in content
    assert "private note" not in page.read_text()


def test_hostile_text_stays_text(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("6::text", "</script><script>alert(1)</script>", "<!-- b"), name="looks")
    sweep[0].images[0].rate(3, note="</script><img src=x onerror=alert(2)>")
    (page,) = sweep.save(tmp_path / "page.html")
    assert "alert(1)</script>" not in page.read_text()
    assert "<img src=x" not in page.read_text()
    document, *_ = read_page(page)
    assert document["items"][0]["images"][0]["note"] == "</script><img src=x onerror=alert(2)>"

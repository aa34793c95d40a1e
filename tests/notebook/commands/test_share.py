"""`%comflowy save` and `%comflowy load`: typed lines and their output, with and without a connection."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from completing import completions_at
from IPython.core.error import UsageError
from PIL import Image

import comflowy_nb
from comflowy_nb.errors import ImageError, SettingsError

SMALL = "width=64 height=64 steps=1"


def texts(found):
    """Return the texts that a cell displayed, one below the other."""
    return "\n".join(bundle.get("text/plain", "") for bundle in found.last)


@pytest.fixture
def swept(connected, tmp_path, monkeypatch):
    """Run a sweep of 2 x 2 cells, s1 `looks`, in an empty history; the working folder is empty."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    line = f'%comflowy sweep default cfg=4,6 6::text="a red barn"||"a glass bottle" seed=11 {SMALL} --as looks'
    assert connected(line).error is None
    return connected


@pytest.fixture
def elsewhere(shell, tmp_path, monkeypatch):
    """Return a function that goes to another home folder, without a connection."""

    def go(name="elsewhere"):
        shell.run_line_magic("unload_ext", "comflowy_nb")  # as in another kernel: with no sweep in memory
        shell.run_line_magic("load_ext", "comflowy_nb")
        monkeypatch.setenv("COMFLOWY_HOME", str(tmp_path / name))

    return go


def test_save_lists_the_content_of_the_zip_file_before_it_is_written(swept):
    swept("%comflowy rate s1.2 4 --note mine")
    shown = texts(swept("%comflowy save looks bottles.zip"))
    first, second, third = shown.splitlines()
    assert first.startswith("bottles.zip: s1 looks (4 cells), 4 images, ")
    assert second == (
        "with prompts, seeds, 1 rating, 1 note, the workflow, the metadata of the images; "
        "--without prompts,seeds,notes,workflow,metadata leaves parts out"
    )
    assert third == "saved: bottles.zip"


def test_without_is_shown_and_checked(swept, tmp_path):
    shown = texts(swept("%comflowy save s1 bottles.zip --without prompts,seeds"))
    assert "; without prompts, seeds, the metadata of the images" in shown
    with zipfile.ZipFile("bottles.zip") as archive:
        assert b"barn" not in b"".join(map(archive.read, archive.namelist()))
    failed = swept("%comflowy save s1 other.zip --without promts")
    assert isinstance(failed.error, SettingsError)
    assert "can't leave out 'promts'. Did you mean prompts" in str(failed.error)


def test_a_loaded_sweep_is_shown_compared_and_found_without_a_connection(swept, elsewhere):
    swept("%comflowy save looks bottles.zip")
    elsewhere()
    shown = texts(swept("%comflowy load bottles.zip"))
    assert shown.splitlines() == ["loaded from bottles.zip: s1, 4 runs, 4 images", "to show it: %comflowy show s1"]
    found = swept("%comflowy show looks")
    assert found.error is None
    assert "s1 looks (default) from bottles.zip" in texts(found)
    assert "from bottles.zip" in texts(swept("%comflowy show looks.2"))
    assert any("image/jpeg" in bundle for bundle in found.last)
    assert swept("%comflowy compare looks.1 looks.4").error is None
    assert swept("e = %comflowy explore looks").error is None
    assert "s1" in texts(swept("%comflowy sweeps"))
    assert "4" in texts(swept("%comflowy runs barn"))
    assert texts(swept("%comflowy load bottles.zip")).splitlines()[0] == "nothing new in bottles.zip"
    assert swept("%comflowy rate looks.1 5").error is None


def test_a_run_is_submitted_from_the_values_of_a_loaded_sweep(swept, elsewhere):
    swept("%comflowy save looks bottles.zip")
    elsewhere()
    swept("x = %comflowy load bottles.zip")
    swept("%comflowy connect sandbox")
    again = swept("r = %comflowy run --from looks.2")
    assert again.error is None
    run = comflowy_nb.history.find("last").run
    assert run.record.imported is None, "the imported run does not answer the request"
    original = comflowy_nb.history.find("looks.2").run
    assert run.params == original.params
    assert run.images[0].bytes == original.images[0].bytes
    swept("%comflowy sweep --from looks")
    assert comflowy_nb.history.find("last").sweep.imported is None


def test_an_input_image_of_a_loaded_run_is_submitted_again(swept, elsewhere, tmp_path):
    """The name of an uploaded image is one of the sender's service; its content is in the archive."""
    Image.effect_noise((64, 64), 90).convert("RGB").save("photo.png")
    result = swept("%comflowy run img2img image=file:photo.png denoise=0.3 seed=3 steps=2 --as sketch")
    assert result.error is None
    assert "1 input image" in texts(swept("%comflowy save sketch one.zip"))
    assert "1 input image" not in texts(swept("%comflowy save sketch none.zip --without inputs"))
    original = comflowy_nb.history.find("sketch[0]").image.bytes
    elsewhere()
    Path("photo.png").unlink()
    swept("%comflowy load one.zip")
    swept("%comflowy connect sandbox")
    again = swept("r = %comflowy run --from sketch")
    assert again.error is None
    run = comflowy_nb.history.find("last").run
    assert run.record.imported is None
    assert run.images[0].bytes == original
    assert swept("f = %comflowy form --from sketch").error is None


def test_several_references_are_saved_together(swept):
    swept(f"%comflowy run default seed=5 {SMALL} --as cat")
    shown = texts(swept("%comflowy save looks cat both.zip"))
    assert shown.startswith("both.zip: s1 looks (4 cells), r5 cat, 5 images")
    swept("import comflowy_nb; two = [comflowy_nb.history.find('looks.1').run, comflowy_nb.history.find('cat').run]")
    first = comflowy_nb.history.find("looks.1").run.ref  # cells are submitted at once, so any can have the first number
    assert texts(swept("%comflowy save {two} two.zip")).startswith(f"two.zip: {first}, r5 cat, 2 images")


def test_a_sweep_is_saved_as_a_figure_or_an_animation(swept):
    assert texts(swept("%comflowy save s1 grid.png")).startswith("grid.png: the grid of s1 looks (4 cells), 4 images, ")
    with Image.open("grid.png") as figure:
        assert figure.width > 900
        assert round(figure.info["dpi"][0]) == 300
        assert figure.info["Title"] == "s1 looks"
    assert texts(swept("%comflowy save s1 grid.pdf")).endswith("saved: grid.pdf")
    shown = texts(swept("%comflowy save s1 cfg.gif --along cfg --duration 0.2s"))
    assert shown.startswith("cfg.gif: 2 frames along cfg at 6::text a red barn, 0.2 s each, ")
    with Image.open("cfg.gif") as animation:
        assert (animation.n_frames, animation.info["duration"], animation.info["loop"]) == (2, 200, 0)
    assert "at cfg 6" in texts(swept("%comflowy save s1 text.webp --along text cfg=6"))


def test_a_sweep_is_saved_as_a_page(swept):
    shown = texts(swept("%comflowy save s1 page.html")).splitlines()
    assert shown[0].startswith("page.html: s1 looks (4 cells), 4 images as previews of 512 pixels, ")
    assert "--full embeds the images in full size" in shown
    assert shown[-1] == "saved: page.html"
    content = Path("page.html").read_text(encoding="utf-8")
    assert "a red barn" in content
    assert "127.0.0.1" not in content
    assert (
        texts(swept("%comflowy save s1 full.html --full"))
        .splitlines()[0]
        .startswith("full.html: s1 looks (4 cells), 4 images in full size, ")
    )


def test_the_ratings_of_a_visitor_are_merged(swept):
    runs = [comflowy_nb.history.find(f"s1.{number}").run for number in (1, 2)]
    sha256 = [run.images[0].record.sha256 for run in runs]
    images = [
        {"sha256": sha256[0], "ref": "s1.1[0]", "rating": 4, "rejected": False, "note": "best sky"},
        {"sha256": sha256[1], "ref": "s1.2[0]", "rating": None, "rejected": True, "note": ""},
        {"sha256": hashlib.sha256(b"other").hexdigest(), "ref": "s9.1[0]", "rating": 1, "rejected": False, "note": ""},
    ]
    content = {"format": "comflowy_nb ratings", "version": 1, "name": "Ann", "images": images}
    Path("ratings.json").write_text(json.dumps(content), encoding="utf-8")
    shown = texts(swept("%comflowy load ratings.json"))
    assert shown.splitlines() == [
        "loaded from ratings.json: 2 ratings by Ann",
        "1 image of the file is not in the history",
    ]
    assert [one.rating for one in comflowy_nb.history.find("s1.1[0]").image.others] == [4]
    assert texts(swept("%comflowy load ratings.json")).startswith("nothing new in ratings.json")


@pytest.fixture
def two_by_two(make_sweep, axis, tmp_path, monkeypatch):
    """Record s1 `looks`, without a service; go to a temporary folder."""
    monkeypatch.chdir(tmp_path)
    return make_sweep(axis("3::cfg", 4, 6), axis("6::text", "a", "b"), name="looks")


@pytest.mark.parametrize(
    ("line", "error", "text"),
    [
        ("save s1", UsageError, "missing argument"),
        ("save s1 x.zip --full", SettingsError, "--full is for a page"),
        ("save s1 x.zip --along cfg", SettingsError, "--along is for an animation"),
        ("save s1 x.gif", SettingsError, "--along"),
        ("save s1 x.zip cfg=4", SettingsError, "FIELD=VALUE are for an animation"),
        ("save s1 x.zip --duration 2s", SettingsError, "are for an animation"),
        ("save s1 x.gif --along cfg --duration 5m", SettingsError, "0.02 to 60 seconds"),
        ("save s1 x.gif --along size", comflowy_nb.ComflowyError, "'size' is not an axis"),
        ("save s1 x.gif --along cfg text=nothing", comflowy_nb.ComflowyError, "s1 has no cell with text=nothing"),
        ("save s1 s1.1 x.png", SettingsError, "the grid of one sweep, or of runs"),
        ("save s1.1 s1.2 x.jpg", SettingsError, "can contain only one image"),
        ("save s1.1 x.gif --along cfg", SettingsError, "an animation shows one sweep"),
        ("save s1 x.mp4", SettingsError, "can't save a .mp4 file"),
        ("load x.txt", SettingsError, "can't load 'x.txt'"),
        ("load none.zip", ImageError, "there is no file 'none.zip'"),
        ("load", UsageError, "missing argument"),
    ],
)
def test_invalid_lines_save_and_load_nothing(cell, handles, two_by_two, tmp_path, line, error, text):  # noqa: PLR0917 - fixtures
    found = cell(f"%comflowy {line}")
    assert isinstance(found.error, error)
    assert text in str(found.error)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("x.")]


def test_options_and_files_are_completed(shell, two_by_two, tmp_path):
    (tmp_path / "bottles.zip").write_bytes(b"")
    (tmp_path / "ratings.json").write_bytes(b"")
    assert completions_at(shell, "%comflowy load ", "") == ["bottles.zip", "home/", "ratings.json"]
    assert completions_at(shell, "%comflowy save s1 x.zip --without ", "prompts,se") == ["prompts,seeds"]
    assert completions_at(shell, "%comflowy save looks x.gif --along ", "c") == ["cfg"]
    assert completions_at(shell, "%comflowy save s1 ", "loo") == ["looks"]
    assert "--without" in " ".join(completions_at(shell, "%comflowy save s1 x.zip ", "--"))

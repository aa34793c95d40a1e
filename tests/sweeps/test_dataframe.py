from __future__ import annotations

import base64
import io
import pickle
import re
import subprocess
import sys

import pytest
from PIL import Image

from comflowy_nb.errors import SettingsError
from comflowy_nb.status import Status
from comflowy_nb.workflow.axes.types import Axis, AxisValue
from comflowy_nb.workflow.images import InputImage

pd = pytest.importorskip("pandas")

from comflowy_nb.sweeps.dataframe import table_of, to_dataframe  # noqa: E402 - imports pandas

EVIL = '<script>alert("x")</script> & "quotes"'


def images_in(html):
    """Return the decoded JPEGs of a table."""
    encoded = re.findall(r'<img src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in encoded]


def test_row_has_params_status_and_image_of_a_cell(make_sweep, axis):
    sweep = make_sweep(
        axis("3::cfg", 4, 6.5), axis("3::sampler_name", "euler"), fixed={"3::seed": 7}, ends={2: Status.FAILED}
    )
    first, second = table_of(sweep.cells)
    assert list(first) == [
        "cell",
        "cfg",
        "sampler_name",
        "seed",
        "status",
        "seconds",
        "queued_s",
        "rating",
        "rejected",
        "note",
        "run",
        "error",
        "image",
    ]
    assert (first["cell"], first["cfg"], first["sampler_name"], first["seed"]) == ("s1.1", 4, "euler", 7)
    assert (first["status"], first["run"], first["error"]) == ("success", "r1", None)
    assert first["seconds"] == sweep.cells[0].run.record.seconds >= 0
    assert first["image"] == sweep.cells[0].images[0].path
    assert (second["cell"], second["cfg"], second["status"]) == ("s1.2", 6.5, "failed")
    assert (second["error"], second["image"]) == ("no luck with 2", None)


def test_a_cell_that_was_not_submitted_has_a_row(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4, 6), ends={2: None})
    row = table_of(sweep.cells)[1]
    assert row == {
        "cell": "s1.2", "cfg": 6, "status": "not submitted", "seconds": None, "queued_s": None,
        "rating": None, "rejected": False, "note": None, "run": None, "error": None, "image": None,
    }  # fmt: skip


def test_varying_fields_are_first_with_short_names_if_unique(make_sweep, axis):
    sweep = make_sweep(axis("6::text", "a", "b"), fixed={"7::text": "same", "3::steps": 20, "5::status": "x", "odd": 1})
    assert list(table_of(sweep.cells)[0])[1:6] == ["6::text", "7::text", "steps", "5::status", "odd"]


def test_labels_that_differ_from_the_values_have_a_column(make_sweep, axis):
    look = Axis(
        "look",
        "preset",
        ("3::cfg", "3::steps"),
        (
            AxisValue({"3::cfg": 4, "3::steps": 9}, "soft", is_named=True),
            AxisValue({"3::cfg": 8}, "crisp", is_named=True),
        ),
    )
    sweep = make_sweep(
        look, axis("6::text", day="at noon"), axis("3::denoise", 1.0), axis("prompt", "x", field="7::text")
    )
    row, last = table_of(sweep.cells)
    assert list(row)[1:8] == ["look", "6::text label", "prompt", "cfg", "steps", "6::text", "denoise"]
    assert (row["look"], row["6::text label"], row["prompt"], row["6::text"]) == ("soft", "day", "x", "at noon")
    assert (last["look"], last["cfg"], last["steps"]) == ("crisp", 8, None)


def test_the_index_of_a_generated_seed_is_beside_the_seed(make_sweep):
    seeds = Axis("3::seed", "seeds", ("3::seed",), (AxisValue({}, "1"), AxisValue({}, "2")))
    rows = table_of(make_sweep(seeds).cells)
    assert [(row["seed label"], row["seed"]) for row in rows] == [("1", 1000), ("2", 1001)]


def test_axis_with_the_name_of_a_column_gets_another_column_name(make_sweep, axis):
    rows = table_of(make_sweep(axis("status", "a", field="5::word"), axis("thumbnail", "b", field="6::image")).cells)
    assert (rows[0]["status label"], rows[0]["thumbnail label"], rows[0]["status"]) == ("a", "b", "success")


def test_an_input_image_is_shown_by_its_name(make_sweep):
    photo = InputImage("photo.png", "ab" * 32, bytes)
    values = Axis("image", "values", ("10::image",), (AxisValue({"10::image": photo}, "photo.png"),))
    sweep = make_sweep(values, ends={1: None})
    assert table_of(sweep.cells)[0]["image label"] == "photo.png"
    assert table_of(sweep.cells)[0]["10::image"] == "photo.png"


def test_the_row_has_the_first_image_on_disk(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4), images=lambda _: [None, Image.new("RGB", (9, 9)), Image.new("RGB", (8, 8))])
    assert table_of(sweep.cells)[0]["image"] == sweep.cells[0].images[1].path


def test_table_without_cells_has_no_rows():
    assert table_of([]) == []
    assert to_dataframe([]).empty


def test_a_table_is_a_regular_data_frame(make_sweep, axis):
    frame = to_dataframe(make_sweep(axis("3::cfg", 4, 6, 8), axis("3::seed", 2**64 - 1, 1)).cells)
    assert isinstance(frame, pd.DataFrame)
    assert frame["cfg"].mean() == 6
    assert frame["seed"].max() == 2**64 - 1
    chosen = frame[frame.cfg > 4].sort_values("cfg", ascending=False, kind="stable")
    assert list(chosen["cell"]) == ["s1.5", "s1.6", "s1.3", "s1.4"]
    assert len(images_in(chosen._repr_html_())) == 4
    assert "s1.5" in frame.to_csv()
    assert len(pickle.loads(pickle.dumps(frame))) == 6
    assert frame.groupby("cfg")["seconds"].count().to_dict() == {4: 2, 6: 2, 8: 2}


def test_html_of_each_row_has_the_image_of_its_cell(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4, 6, 8), ends={2: Status.FAILED})
    html = to_dataframe(sweep.cells)._repr_html_()
    first, third = images_in(html)
    for cell, image in ((sweep.cells[0], first), (sweep.cells[2], third)):
        assert max(image.size) <= 96
        expected = cell.images[0].pil().getpixel((0, 0))
        assert all(abs(a - b) < 12 for a, b in zip(image.getpixel((20, 20)), expected, strict=True))
    assert 'alt="s1.1"' in html
    assert 'alt="s1.3"' in html
    assert "&lt;img" not in html


def test_large_images_are_shown_small(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4), images=lambda _: [Image.effect_noise((1024, 512), 90).convert("RGB")])
    (image,) = images_in(to_dataframe(sweep.cells)._repr_html_())
    assert image.size == (96, 48)


def test_text_of_services_and_users_is_escaped(make_sweep, axis):
    sweep = make_sweep(axis(f"6::{EVIL}", EVIL), fixed={"5::x": [EVIL]}, ends={1: Status.FAILED})
    html = to_dataframe(sweep.cells)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_text_is_not_mistaken_for_an_image(make_sweep, axis):
    """pandas writes placeholders for images; a prompt with the same text as a placeholder gets no image."""
    texts = ["0123456789ab-0", '<img src="data:image/jpeg;base64,AAAA">']
    html = to_dataframe(make_sweep(axis("6::text", *texts)).cells)._repr_html_()
    assert texts[0] in html
    assert len(images_in(html)) == 2


def test_no_output_contains_a_folder_of_this_machine(make_sweep, axis, home):
    frame = to_dataframe(make_sweep(axis("3::cfg", 4)).cells)
    name = frame["image"][0].name
    for text in (frame._repr_html_(), repr(frame)):
        assert str(home) not in text
        assert name[:20] in text
    assert frame["image"][0].is_file()  # the value is the full path


def test_a_missing_image_leaves_its_reference(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4, 6))
    frame = to_dataframe(sweep.cells)
    path = sweep.cells[0].images[0].path
    path.with_suffix(".t256.jpg").unlink()
    assert len(images_in(frame._repr_html_())) == 2  # made from the original file
    path.unlink()
    html = frame._repr_html_()
    assert len(images_in(html)) == 1
    assert "<td>s1.1</td>" in html


def test_html_of_1000_rows_stays_small(make_sweep, axis, monkeypatch):
    sweep = make_sweep(axis("3::cfg", 4), images=lambda _: [Image.effect_noise((512, 512), 120).convert("RGB")])
    frame = pd.concat([to_dataframe(sweep.cells)] * 1000, ignore_index=True)
    html = frame._repr_html_()
    assert len(images_in(html)) == 10  # pandas omits the middle
    with pd.option_context("display.max_rows", None, "display.min_rows", None):
        whole = frame._repr_html_()
    assert len(whole) < 1_000_000
    assert 50 < len(images_in(whole)) < 1000


def test_table_has_no_html_if_pandas_disables_it(make_sweep, axis):
    frame = to_dataframe(make_sweep(axis("3::cfg", 4)).cells)
    with pd.option_context("display.notebook_repr_html", False):
        assert frame._repr_html_() is None


def test_without_pandas_the_error_names_the_install_command(make_sweep, axis, monkeypatch):
    sweep = make_sweep(axis("3::cfg", 4))
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "comflowy_nb.sweeps.dataframe")
    with pytest.raises(SettingsError, match=re.escape("a table needs pandas: pip install 'comflowy_nb[dataframe]'")):
        sweep.to_dataframe()


def test_pandas_is_imported_only_for_a_table():
    code = "import sys, comflowy_nb.sweeps.sweep; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_a_pruned_image_is_shown_as_its_thumbnail(make_sweep, axis, library):
    sweep = make_sweep(axis("3::cfg", 4, 6))
    library.prune(0)
    sweep = library.sweep(sweep.record)
    assert [row["image"] for row in table_of(sweep.cells)] == [None, None]
    assert len(images_in(to_dataframe(sweep.cells)._repr_html_())) == 2

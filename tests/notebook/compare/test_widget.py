"""The comparison without a browser: its replies, saved state, static versions and HTML page."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import traitlets
from PIL import Image

import comflowy_nb
from comflowy_nb.errors import FieldError, ImageError, SettingsError
from comflowy_nb.notebook.compare.widget import Comparison, compare

EVIL = "</script><img src=x onerror=alert(1)><!--"


@pytest.fixture
def pair(folder):
    """Create two runs that differ in cfg and in a word."""
    values = [
        {"3::cfg": 7, "6::text": "a glass bottle at sea, stars"},
        {"3::cfg": 4, "6::text": "a vase at sea, stars"},
    ]
    return [folder.run(("9", 640, 480), params={**each, "3::seed": 5}) for each in values]


@pytest.fixture
def comparison(pair):
    comparison = compare(pair)
    yield comparison
    comparison.close()


@pytest.fixture
def replies(comparison, monkeypatch):
    """Record the replies of the comparison to the browser, in order."""
    replies_sent = []
    monkeypatch.setattr(
        type(comparison), "send", lambda _, content, buffers=None: replies_sent.append((content, buffers))
    )
    return replies_sent


def ask(comparison, **message):
    """Send a request as a view does."""
    comparison._handle_custom_msg({"view": "v1", **message}, [])


def image_of(content):
    return Image.open(io.BytesIO(content))


def test_compare_is_public_and_accepts_single_images(pair):
    comparison = comflowy_nb.compare(*pair, mode="blink")
    assert isinstance(comparison, Comparison)
    assert repr(comparison) == "<Comparison of r1, r2>"
    assert comparison.mode == "blink"
    comparison.close()


def test_two_images_start_with_the_slider_and_more_side_by_side(pair):
    assert compare(pair).mode == "slider"
    assert compare([*pair, pair[0]]).mode == "side"


def test_a_view_gets_the_requested_image_byte_for_byte(comparison, replies, pair):
    ask(comparison, ask="image", index=1)
    ((content, buffers),) = replies
    assert content == {"to": {"view": "v1", "ask": "image", "index": 1}, "kind": "image/png"}
    assert buffers == [pair[1].images[0].bytes]


def test_a_preview_is_small_and_a_difference_has_its_numbers(comparison, replies):
    ask(comparison, ask="preview", index=0)
    ask(comparison, ask="difference", pair=[0, 1])
    (preview, (first,)), (difference, (second,)) = replies
    assert preview["kind"] == "image/jpeg"
    assert image_of(first).size == (512, 384)
    assert image_of(second).size == (640, 480)
    assert difference["numbers"] == "The two images are equal, pixel for pixel."
    assert difference["top"] == 8


def test_numbers_of_a_comparison_have_a_warning(folder, tmp_path):
    runs = [folder.run(("9", 30, 20), params={"3::seed": seed}) for seed in (1, 2)]
    Image.new("RGB", (30, 20), (9, 9, 9)).save(runs[1].images[0].path)
    reply, _ = compare(runs).reply_to({"ask": "difference", "pair": [0, 1]})
    assert re.fullmatch(
        r"Mean absolute error [\d.]+ of 255 · PSNR [\d.]+ dB · [\d.]+% of the pixels differ", reply["numbers"]
    )
    assert reply["caveat"].startswith("The seeds differ, so the numbers only show that the images are different")
    same = [folder.run(("9", 30, 20), params={"3::seed": 1}) for _ in range(2)]
    Image.new("RGB", (30, 20), (9, 9, 9)).save(same[1].images[0].path)
    reply, _ = compare(same).reply_to({"ask": "difference", "pair": [0, 1]})
    assert reply["caveat"].startswith("The numbers measure change, not which image is better; for different seeds")


def test_different_sizes_share_a_canvas_without_numbers_and_with_a_warning(folder):
    comparison = compare([folder.run(("9", 64, 64)), folder.run(("9", 96, 64))])
    assert comparison._content["canvas"] == [96, 64]
    times = "\N{MULTIPLICATION SIGN}"
    assert (
        f"different sizes: each is scaled to fit, and centred on, a canvas of 96 {times} 64 pixels." in comparison.text
    )
    reply, _ = comparison.reply_to({"ask": "difference", "pair": [0, 1]})
    assert reply["numbers"] == "No numbers: the images have different sizes."


def test_a_deleted_file_is_reported_to_the_view(comparison, replies, pair):
    pair[0].images[0].path.unlink()
    ask(comparison, ask="image", index=0)
    ask(comparison, ask="difference", pair=[0, 1])
    assert [content["problem"] for content, _ in replies] == [
        "the file of r1 can't be read: No such file or directory",
        "the file of r1 does not exist any more",
    ]
    assert all(buffers is None for _, buffers in replies)


@pytest.mark.parametrize("message", [{"ask": "image", "index": 7}, {"ask": "image", "index": -1},
                                   {"ask": "difference", "pair": [0]}, {"ask": "/etc/passwd"}, {}])  # fmt: skip
def test_unknown_requests_get_an_error(comparison, replies, message):
    ask(comparison, **message)
    ((content, _),) = replies
    assert content["problem"].startswith("the page sent a request that this version does not know")


def test_the_saved_state_contains_only_text(comparison, pair):
    state = comparison.get_state()
    saved = {key: value for key, value in state.items() if key not in {"_esm", "_css"}}
    text = json.dumps(saved, default=lambda value: pytest.fail(f"{value!r} is in the state"))
    assert len(text) < 4000
    assert str(pair[0].images[0].path.parent) not in text
    assert "127.0.0.1" not in text
    ask(comparison, ask="image", index=0)
    assert len(json.dumps({key: comparison.get_state()[key] for key in saved})) == len(text), "nothing was kept"


def test_values_set_in_the_browser_are_read_and_checked(comparison):
    comparison.set_state({"position": 12.5, "mode": "difference", "left": 1, "right": 0})
    assert (comparison.position, comparison.mode, comparison.left, comparison.right) == (12.5, "difference", 1, 0)
    with pytest.raises(traitlets.TraitError, match="invalid index 2: the images of this comparison are 0 to 1"):
        comparison.left = 2
    for name, value in [("mode", "wobble"), ("position", 101), ("pace_s", 0.1), ("right", -1)]:
        with pytest.raises(traitlets.TraitError):
            setattr(comparison, name, value)


def test_unknown_keywords_modes_and_fields_are_rejected(pair):
    with pytest.raises(TypeError, match="speed"):
        compare(*pair, speed=3)
    with pytest.raises(TypeError, match="positoin"):
        Comparison([], positoin=3)
    with pytest.raises(SettingsError, match=r"^invalid mode 'wipe': use slider, blink, side or difference$"):
        compare(*pair, mode="wipe")
    with pytest.raises(FieldError, match=r"^no image here has a field 'cgf'\. Did you mean "):
        compare(*pair, label=["cgf"])


def test_captions_are_the_short_fields_that_differ_or_those_of_label(pair):
    def captions(comparison):
        return [each["caption"] for each in comparison._content["images"]]

    assert captions(compare(pair)) == ["cfg 7", "cfg 4"]
    assert captions(compare(pair, label=["seed", "cfg"])) == ["seed 5 · cfg 7", "seed 5 · cfg 4"]
    assert captions(compare(pair, label=["3::seed"])) == ["seed 5", "seed 5"]


def test_the_bundle_shows_table_and_figure_without_widgets(comparison):
    data, metadata = comparison._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/plain", "text/html", "image/jpeg"} == set(data)
    lines = [line.split() for line in data["text/plain"].splitlines()[:3]]
    assert lines == [["image", "cfg", "text"], *(f"r{n} {v}".split() for n, v in
                     [(1, "7 a glass bottle at sea, stars"), (2, "4 a vase at sea, stars")])]  # fmt: skip
    assert re.findall(r"<b [^>]*>([^<]*)</b>", data["text/html"]) == ["glass bottle", "vase"]
    assert "<script" not in data["text/html"]
    width, height = metadata["image/jpeg"]["width"], metadata["image/jpeg"]["height"]
    assert image_of(comparison.jpeg).size in {(width, height), (2 * width, 2 * height)}
    assert len(comparison.jpeg) < 250_000
    assert comparison.figure.get_figwidth() > 0


def test_a_comparison_of_nine_noisy_images_stays_small(folder):
    rng = np.random.default_rng(1)
    runs = [folder.run(("9", 600, 600)) for _ in range(9)]
    for run in runs:
        Image.fromarray(rng.integers(0, 256, (600, 600, 3), dtype=np.uint8)).save(run.images[0].path)
    data, _ = compare(runs).bundle()
    assert len(json.dumps(data)) < 1_500_000, "noise, which no JPEG makes small"


def test_text_of_users_is_escaped_everywhere(folder, tmp_path):
    runs = [folder.run(("9", 30, 20), params={"6::text": f"{EVIL} {word}"}, name=EVIL) for word in ("a", "b")]
    evil_file = tmp_path / "<img src=x onerror=alert(2)>.png"
    Image.new("RGB", (30, 20)).save(evil_file)
    comparison = compare([*runs, evil_file])
    data, _ = comparison.bundle()
    page = comparison.save(tmp_path / "page.html").read_text()
    for html in (data["text/html"], page):
        tags = Tags(html)
        assert "onerror" not in {name for _, attributes in tags.found for name, _ in attributes}
        assert [tag for tag, _ in tags.found].count("script") == (html.count("<script") if html is page else 0)
        assert {dict(attributes).get("src", "data:")[:5] for _, attributes in tags.found} == {"data:"}


class Tags(HTMLParser):
    """The tags of a page as a browser would read them."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, attributes))


def test_a_page_contains_all_images_without_paths_and_metadata(comparison, pair, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("prompt", '{"1": {"class_type": "X", "inputs": {"api_key": "sk-secret"}}}')
    path = pair[0].images[0].path
    Image.open(path).save(path, pnginfo=notes)
    comparison.position = 30
    saved = comparison.save(tmp_path / "out" / "why")
    assert saved == tmp_path / "out" / "why.html"
    page = saved.read_text()
    blocks = dict(re.findall(r'<script type="text/plain" id="([^"]+)">([^<]*)</script>', page))
    assert set(blocks) == {"preview-0", "preview-1", "image-0", "image-1", "difference-0-1"}
    content = base64.b64decode(blocks["image-0"])
    assert b"sk-secret" not in content
    assert np.array_equal(np.asarray(image_of(content)), np.asarray(Image.open(path)))
    assert str(tmp_path) not in page
    assert "127.0.0.1" not in page
    state = json.loads(re.search(r'id="comparison">(.*?)</script>', page)[1])["state"]
    assert state["position"] == 30
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_a_page_of_very_large_images_contains_jpeg(comparison, tmp_path, monkeypatch):
    from comflowy_nb.notebook.compare import static

    monkeypatch.setattr(static, "MAX_PAGE_BYTES", 1000)
    page = comparison.save(tmp_path / "why.html").read_text()
    assert "they are JPEG, in full size" in page
    assert page.count('"kind": "image/jpeg"') == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("why.png", "can't save a comparison to why.png: use why.html"),
        (".", "is a folder; name a file"),
        ("file.txt/why.html", "why.html can't be written"),
    ],
)
def test_page_that_can_not_be_written_is_an_error(comparison, tmp_path, name, message):
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ImageError, match=re.escape(message)):
        comparison.save(tmp_path / name)
    assert [each.name for each in tmp_path.iterdir() if each.suffix in {".html", ".part"}] == []


def test_closed_comparison_has_no_images_and_sends_no_reply(comparison, replies):
    comparison.close()
    ask(comparison, ask="image", index=0)
    assert replies == []
    assert comparison.names == []
    assert comparison.bundle() == ({"text/plain": "<Comparison of >"}, {})
    comparison.close()


# -- the command ------------------------------------------------------------------------------------------------


def run(cell, seed, **more):
    fields = " ".join(f"{key}={value}" for key, value in more.items())
    line = f"%comflowy run default 3::steps=2 5::width=64 5::height=64 3::seed={seed} {fields}"
    return cell(line).value


def test_the_command_shows_the_comparison_once_and_returns_it(sandbox, tmp_path):
    first, other = run(sandbox, 1001), run(sandbox, 1001, cfg=3)
    page = tmp_path / "why.html"
    cell = sandbox(f"%comflowy compare {first.ref} {other.ref} --mode blink --save {page}")
    assert isinstance(cell.value, Comparison)
    assert cell.value.mode == "blink"
    bundles = [data for data in cell.last if "image/jpeg" in data]
    assert len(bundles) == 1
    assert f"{other.ref}" in bundles[0]["text/plain"]
    assert any("saved: why.html" in data["text/plain"] for data in cell.last)
    assert page.exists()
    page.write_text("mine")
    refused = sandbox(f"%comflowy compare {first.ref} {other.ref} --save {page}").error
    assert "why.html can't be written: a different file with this name exists; --overwrite replaces it" in str(refused)
    assert page.read_text() == "mine"
    assert sandbox(f"%comflowy compare {first.ref} {other.ref} --save {page} --overwrite").error is None
    assert sandbox(f"%comflowy compare {first.ref} {other.ref} --save {page}").error is None  # the same content
    last_text = sandbox(f"%comflowy compare {first.ref} {other.ref} --save {tmp_path}/pages/why").last[-1]["text/plain"]
    assert last_text == "saved: why.html in the new folder pages"
    assert "--overwrite needs --save" in str(sandbox(f"%comflowy compare {first.ref} {other.ref} --overwrite").error)
    assert sandbox(f"%comflowy compare {first.ref} {other.ref};").value is None


def test_the_command_accepts_python_objects(sandbox, shell):
    shell.user_ns["mine"] = run(sandbox, 1002)
    shell.user_ns["red"] = Image.new("RGB", (64, 64), "red")
    assert sandbox("%comflowy compare {mine} {red} last").value.names == [
        shell.user_ns["mine"].ref, "image 2", shell.user_ns["mine"].ref,
    ]  # fmt: skip
    shell.user_ns["both"] = [shell.user_ns["mine"], shell.user_ns["red"]]
    assert len(sandbox("%comflowy compare {both}").value.names) == 2


def test_errors_of_the_command_are_one_line(sandbox):
    ref = run(sandbox, 1003).ref
    for words in (ref, f"{ref} r999", f"{ref} nothing.png", f"{ref} " * 11):
        caught = sandbox(f"%comflowy compare {words}")
        assert caught.value is None
        assert len(caught.lines) == 1
    assert sandbox(f"%comflowy compare {ref} {ref} --mode wipe").error is not None


def test_a_terminal_gets_the_table_and_the_paths(sandbox, shell, monkeypatch):
    first, other = run(sandbox, 1004), run(sandbox, 1004, cfg=3)
    monkeypatch.setattr(shell, "kernel", None)
    cell = sandbox(f"%comflowy compare {first.ref} {other.ref}")
    assert re.search(rf"{first.ref} +8\n{other.ref} +3\n", cell.stdout), cell.stdout
    assert str(first.images[0].path) in cell.stdout
    assert cell.last == []


def test_help_lists_options_and_keys(sandbox):
    help_text = sandbox("%comflowy help compare").last[0]["text/plain"]
    assert "--save FILE.html" in help_text
    assert "arrows move the slider" in help_text

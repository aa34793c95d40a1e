"""A part that was left out occurs nowhere in the bytes of a saved file: not in graphs, labels, names or images."""

from __future__ import annotations

import contextlib
import io
import json
import zlib

import pytest
from archives import PROMPTS, contains_text, png, read_manifest, read_zip
from PIL import Image

import comflowy_nb
from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.images.store import store_output
from comflowy_nb.services.types import Output
from comflowy_nb.status import Status, StatusEvent
from comflowy_nb.tracking.run import ImageRecord

SEED = 987654321
NEGATIVE = "blurry, ugly"
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"cfg": 7.0, "seed": SEED, "sampler_name": "euler", "model": ["4", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "my model.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPTS[0]}, "_meta": {"title": f"prompt {PROMPTS[0]}"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": NEGATIVE, "clip": ["4", 1]}},
    "8": {"class_type": "Wildcards", "inputs": {"options": [PROMPTS[1], "x"], "seed": SEED, "seed_link": ["3", 0]}},
    "10": {"class_type": "LoadImage", "inputs": {"image": "portrait of me.png"}},
}


def pieces(files):
    """Return every content in a saved file, with everything compressed in it also decompressed."""
    found = []
    for name, content in files.items():
        found += [name.encode(), content]
        at = 0
        while (at := content.find(b"\x78", at)) >= 0:
            with contextlib.suppress(zlib.error):
                found.append(zlib.decompressobj().decompress(content[at:], 10_000_000))
            at += 1
    return found


def finds(path, *texts):
    """Return the texts that are found in a saved file."""
    files = read_zip(path) if path.suffix == ".zip" else {path.name: path.read_bytes()}
    everything = pieces(files)
    return [text for text in texts if contains_text(everything, text)]


@pytest.fixture
def run(library, run_request, stream):
    """Return a run with a graph, an input image, an error note, and images whose metadata has all of these."""
    history = library.history
    params = {"3::seed": SEED, "6::text": PROMPTS[0], "3::sampler_name": "euler", "10::image": "portrait of me.png"}
    request = run_request("a", graph=GRAPH, params=params, set_params=tuple(params), workflow_id=None,
                          workflow="acme campaign", name="best")  # fmt: skip
    record = history.record_or_reuse(request).record
    history.apply(record.token, StatusEvent.SEEN_SUCCESS, service_run_id="i", images=[ImageRecord(0, "9", 0)])
    content = png(prompt=json.dumps(GRAPH), parameters=f"{PROMPTS[0]}\nSeed: {SEED}")
    kept = store_output(stream(content), folder=library.folder, token=record.token, output=Output(0, "9", 0, url=""))
    history.set_images(record.token, kept)
    library.inputs.mkdir(parents=True)
    sha256 = "ab" * 32
    (library.inputs / sha256).write_bytes(png((200, 1, 1), comment=PROMPTS[0]))
    history.inputs.store_name("sandbox", "portrait of me.png", sha256)
    recorded = library.find(record.ref).run
    recorded.images[0].rate(4, note=f"like {PROMPTS[0]}, seed {SEED}")
    return recorded


ALL = (*PROMPTS, NEGATIVE, str(SEED), "portrait of me", "acme campaign", "like ")


def test_without_options_the_file_contains_everything(run, tmp_path):
    (path,) = run.save(tmp_path / "x.zip")
    assert set(finds(path, *ALL)) == set(ALL)


@pytest.mark.parametrize(
    ("part", "absent"),
    [
        ("prompts", [*PROMPTS, NEGATIVE]),
        ("seeds", [str(SEED)]),
        ("notes", ["like "]),
        ("workflow", ["acme campaign", "CLIPTextEncode", NEGATIVE, "my model"]),
        ("inputs", ["portrait of me"]),
        ("metadata", ["parameters"]),
    ],
)
def test_a_part_is_left_out(run, tmp_path, part, absent):
    (path,) = run.save(tmp_path / "x.zip", without=part)
    assert finds(path, *absent) == []
    present = {"prompts": ["acme campaign", "euler"], "seeds": [PROMPTS[0]], "notes": [PROMPTS[0], str(SEED)],
            "workflow": [PROMPTS[0], str(SEED)], "inputs": [PROMPTS[0], str(SEED)],
            "metadata": [PROMPTS[0], str(SEED), NEGATIVE]}  # fmt: skip
    assert finds(path, *present[part]) == present[part]
    assert read_manifest(path)["left_out"] == [part]


def test_all_parts_are_left_out_and_the_archive_can_be_loaded(run, tmp_path, other):
    (path,) = run.save(tmp_path / "x.zip", without="prompts,seeds,notes,workflow,inputs,metadata")
    assert finds(path, *ALL, "CLIPTextEncode") == []
    loaded = other.load(path)
    image = other.find(loaded.runs[0]).image or other.find(loaded.runs[0]).run.images[0]
    assert image.pil().getpixel((0, 0)) == (10, 20, 30)
    assert other.find("best").run.params == {
        "6::text": "(left out)",
        "3::sampler_name": "euler",
        "10::image": "(left out)",
    }
    assert image.others[0].rating == 4


def test_the_original_is_not_changed(run, tmp_path):
    before = run.images[0].bytes
    run.save(tmp_path / "x.zip", without=["metadata"])
    assert run.images[0].bytes == before
    assert Image.open(io.BytesIO(before)).text["parameters"]


@pytest.fixture
def sweep(make_sweep, axis):
    """Return a sweep over prompts, labelled prompts and seeds, with an error that quotes a prompt."""
    recorded = make_sweep(
        axis("6::text", *PROMPTS),
        axis("7::text", day="bright noon", night="dark midnight"),
        axis("3::seed", 555555, 666666),
        fixed={"4::ckpt_name": "my model.safetensors"},
        name="looks",
        ends={2: Status.FAILED},
    )
    history = recorded.cells[1].run.history
    with history._store.write() as connection:
        connection.execute("UPDATE runs SET reason = ? WHERE status = 'failed'", (f"bad words in {PROMPTS[0]!r}",))
    return recorded


@pytest.mark.parametrize("name", ["x.zip", "x.html", "full.html"])
def test_a_sweep_over_prompts_keeps_its_axes_without_their_texts(sweep, tmp_path, name):
    (path,) = sweep.save(tmp_path / name, without="prompts", full=name == "full.html")
    assert finds(path, *PROMPTS, "bright noon", "dark midnight", "bad words") == []
    assert finds(path, "night", "my model.safetensors", "555555") == ["night", "my model.safetensors", "555555"]


def test_the_labels_of_left_out_prompts_differ(sweep, tmp_path, other):
    other.load(sweep.save(tmp_path / "x.zip", without="prompts")[0])
    loaded = other.sweep(other.find("looks").sweep)
    assert [value.label for value in loaded.axes.axes[0].values] == ["(left out 1)", "(left out 2)"]
    assert [value.label for value in loaded.axes.axes[1].values] == ["day", "night"]
    assert loaded.cells[1].error == "(left out)"
    assert loaded.axes.shape == (2, 2, 2)


@pytest.mark.parametrize("name", ["x.zip", "x.html"])
def test_a_sweep_over_seeds_keeps_its_axis_without_the_seeds(sweep, tmp_path, name):
    (path,) = sweep.save(tmp_path / name, without="seeds")
    assert finds(path, "555555", "666666") == []
    assert finds(path, *PROMPTS) == list(PROMPTS)


def test_figures_and_animations_show_no_prompt(sweep, tmp_path):
    """A PDF is checked by its text. An image is checked by its bytes; its pixels show the same texts as the PDF."""
    sweep.save(tmp_path / "x.pdf", without="prompts")
    sweep.save(tmp_path / "with.pdf")
    assert len(_text_of_pdf(tmp_path / "with.pdf")) > len(_text_of_pdf(tmp_path / "x.pdf"))
    sweep.save(tmp_path / "x.png", without="prompts")
    assert finds(tmp_path / "x.png", *PROMPTS) == []


def _text_of_pdf(path):
    """Return the operators that show text, in the decompressed pages of a PDF."""
    return b"".join(part for part in pieces({"x": path.read_bytes()}) if b" Tf" in part)


def test_words_that_an_axis_replaces_are_left_out(make_sweep, library, tmp_path, other):
    from comflowy_nb.workflow.axes.types import Axis, AxisValue

    template = "a purple galaxy over a lake"
    values = [
        AxisValue({"6::text": template.replace("purple galaxy", word)}, word, word=word) for word in ("red sun", "moon")
    ]
    sweep = make_sweep(Axis("purple galaxy", "replace", ("6::text",), tuple(values)), layout={"x": "purple galaxy"})
    with library.history._store.write() as connection:
        spec = {**sweep.record.spec, "texts": {"6::text": template}, "where": "text contains 'sun'"}
        connection.execute("UPDATE sweeps SET spec = ?", (json.dumps(spec),))
    (path,) = comflowy_nb.save("s1", tmp_path / "x.zip", without="prompts")
    assert finds(path, "purple galaxy", "red sun", "over a lake", "moon", "'sun'") == []
    loaded = other.load(path)
    axis = other.sweep(other.find(loaded.sweeps[0]).sweep).axes.axes[0]
    assert (axis.name, [value.label for value in axis.values]) == ("word 1", ["word 1", "word 2"])


@pytest.mark.parametrize("target", ["folder", "one.png"])
def test_copies_can_be_saved_without_metadata(run, tmp_path, target):
    paths = comflowy_nb.save(run.images[0], tmp_path / target, without="metadata,seeds")
    assert finds(paths[0], *PROMPTS, str(SEED), NEGATIVE, "comflowy") == []
    assert len(list(tmp_path.rglob("*.json"))) == 0
    assert Image.open(paths[0]).getpixel((0, 0)) == (10, 20, 30)


def test_copies_without_prompts_have_the_other_params(run, tmp_path):
    paths = comflowy_nb.save(run, tmp_path / "out", without=["prompts"])
    assert finds(paths[0], *PROMPTS, NEGATIVE) == []
    params = json.loads(Image.open(paths[0]).info["comflowy"])["params"]
    assert (params["3::seed"], params["6::text"]) == (SEED, "(left out)")


def test_files_whose_metadata_can_not_be_removed_are_left_out(library, run_request, stream, tmp_path):
    history = library.history
    record = history.record_or_reuse(run_request("v")).record
    expected = [ImageRecord(0, "9", 0), ImageRecord(1, "9", 1)]
    history.apply(record.token, StatusEvent.SEEN_SUCCESS, service_run_id="i", images=expected)
    for index, (content, ending) in enumerate(((png(), None), (b"\0\0\0\x18ftypmp42 secret", "mp4"))):
        output = Output(index, "9", index, url="", ending=ending)
        kept = store_output(stream(content), folder=library.folder, token=record.token, output=output)
        history.set_images(record.token, kept)
    run = library.find(record.ref).run
    assert finds(run.save(tmp_path / "with.zip")[0], "secret") == ["secret"]
    assert finds(run.save(tmp_path / "x.zip", without="seeds")[0], "secret") == []


@pytest.mark.parametrize(
    ("without", "text"), [("promts", "Did you mean prompts"), (["x"], "'x'"), ([3], "3"), (5, "5"), ("a,b", "'a'")]
)
def test_an_unknown_part_is_an_error(run, tmp_path, without, text):
    with pytest.raises(SettingsError, match=f"can't leave out.*{text}"):
        run.save(tmp_path / "x.zip", without=without)
    assert not list(tmp_path.glob("*.zip"))


def test_an_image_that_can_not_be_stripped_is_an_error_and_nothing_is_written(run, tmp_path):
    path = run.images[0].path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match="truncated or damaged"):
        run.save(tmp_path / "x.zip", without="metadata")
    assert [path.name for path in tmp_path.iterdir() if path.suffix in {".zip", ".part"}] == []

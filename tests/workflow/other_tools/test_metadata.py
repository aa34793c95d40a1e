"""The settings in images of other tools: each documented format, and damaged ones."""

from __future__ import annotations

import json
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tool_images import (
    A1111,
    FOOOCUS,
    INVOKE,
    NOVELAI,
    SWARM,
    a1111_exif,
    a1111_png,
    fooocus_exif,
    fooocus_png,
    invoke_png,
    novelai_png,
    novelai_webp,
    png,
    swarm_png,
    with_comment,
)

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.image_metadata import generation_of_image
from comflowy_nb.workflow.other_tools.metadata import ROLES

COMMON = {
    "prompt": "a lighthouse",
    "negative": "blurry",
    "steps": 12,
    "cfg": 6.5,
    "seed": 77,
    "width": 128,
    "height": 192,
}
A1111_VALUES = {
    "prompt": "a lighthouse, oil painting\nby the sea",
    "negative": "blurry, text",
    "steps": 12,
    "cfg": 6.5,
    "seed": 1234567890,
    "sampler": "DPM++ 2M",
    "scheduler": "Karras",
    "width": 128,
    "height": 192,
}
A1111_EXTRAS = {
    "LoRA brush:0.8",
    "Model hash 45dee52b",
    "Model dream_v8",
    "Denoising strength 0.5",
    "Hires upscale 2",
    "Hires upscaler Latent",
    "Lora hashes brush: 0123abcd, other: 4567",
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_automatic1111(tmp_path, suffix):
    """A PNG text `parameters`, or an Exif UserComment in big-endian UTF-16.

    Format: the docstring of `parse_generation_parameters` in `modules/infotext_utils.py`, and `save_image` in
    `modules/images.py`, github.com/AUTOMATIC1111/stable-diffusion-webui.
    """
    write = a1111_png if suffix == "png" else a1111_exif
    found = generation_of_image(write(tmp_path / f"a.{suffix}"))
    assert found.tool == "AUTOMATIC1111"
    assert found.values == A1111_VALUES
    assert set(found.extras) == A1111_EXTRAS


def test_forge(tmp_path):
    """Forge writes A1111's format with its own version: github.com/lllyasviel/stable-diffusion-webui-forge."""
    text = A1111.replace("v1.10.1", "f2.0.1v1.10.1-previous-665-gae278f79")
    assert generation_of_image(a1111_png(tmp_path / "a.png", text)).tool == "Forge"


def test_a1111_before_schedule_types(tmp_path):
    """Before version 1.9 the schedule was a suffix of the sampler, and without a suffix it was uniform.

    Format: `samplers_k_diffusion` in `modules/sd_samplers_kdiffusion.py` of version 1.5.
    """
    text = "a boat\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Size: 64x64, Version: v1.5.1"
    found = generation_of_image(a1111_png(tmp_path / "a.png", text))
    assert (found.values["sampler"], found.values["negative"]) == ("DPM++ 2M Karras", "")
    assert found.extras == ()


def test_a_prompt_that_resembles_the_settings(tmp_path):
    text = "Steps: many, Sampler: mine\nSeed: a\nNegative prompt: no\nNegative prompt: twice\n" + A1111.split("\n")[-1]
    found = generation_of_image(a1111_png(tmp_path / "a.png", text))
    assert found.values["prompt"] == "Steps: many, Sampler: mine\nSeed: a"
    assert found.values["negative"] == "no\nNegative prompt: twice"


def test_json_objects_in_the_settings(tmp_path):
    """A1111 and its extensions also write JSON objects: `Hashes: {...}`, `Tiled Diffusion: {...}`."""
    line = (
        'Steps: 9, Sampler: Euler a, Seed: 1, Hashes: {"vae": "c6", "embed:x": "d7"}, Tile: {"a: Steps": 3}, Steps: 5'
    )
    found = generation_of_image(a1111_png(tmp_path / "a.png", f"a boat\n{line}"))
    assert found.values["steps"] == 9
    assert set(found.extras) == {'Hashes {"vae": "c6", "embed:x": "d7"}', 'Tile {"a: Steps": 3}'}


def test_text_below_the_settings_is_an_extra(tmp_path):
    found = generation_of_image(a1111_png(tmp_path / "a.png", f"{A1111}\nTemplate: a __place__"))
    assert "text Template: a __place__" in found.extras


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_swarmui(tmp_path, suffix, encoding):
    """A PNG text `parameters` or a UserComment with JSON, in which numbers may be texts.

    Format: `docs/Image Metadata Format.md`, github.com/mcmonkeyprojects/SwarmUI.
    """
    path = tmp_path / f"a.{suffix}"
    comment = b"UNICODE\0" + json.dumps(SWARM).encode(encoding)
    found = generation_of_image(swarm_png(path) if suffix == "png" else with_comment(path, comment))
    assert found.tool == "SwarmUI"
    assert found.values == {**COMMON, "sampler": "dpmpp_2m", "scheduler": "karras"}
    assert set(found.extras) == {
        "LoRA brush:0.8",
        "LoRA other:1",
        "model OfficialStableDiffusion/sd_xl_base_1.0",
        "aspectratio 1:1",
    }


def test_lists_of_swarmui_as_texts(tmp_path):
    """List values are JSON lists or texts separated by commas: `docs/Image Metadata Format.md`."""
    settings = {"sui_image_params": {"prompt": "x", "loras": "brush,other", "loraweights": "0.8,1"}}
    assert generation_of_image(swarm_png(tmp_path / "a.png", settings)).extras == ("LoRA brush:0.8", "LoRA other:1")


def test_invokeai(tmp_path):
    """A PNG text `invokeai_metadata` with JSON.

    Format: https://invoke-ai.github.io/InvokeAI-7/development/architecture/media-metadata/ and
    `CoreMetadataInvocation` in `invokeai/app/invocations/metadata.py`, github.com/invoke-ai/InvokeAI.
    """
    found = generation_of_image(invoke_png(tmp_path / "a.png"))
    assert found.tool == "InvokeAI"
    assert found.values == {**COMMON, "sampler": "dpmpp_2m_k", "scheduler": "Uniform"}
    assert set(found.extras) == {"LoRA brush:0.8", "model dream_v8", "hrf_enabled true", "hrf_strength 0.45"}


def test_models_of_invokeai_3(tmp_path):
    """Version 3 names a model `model_name`, and that of a LoRA `lora`."""
    settings = {
        **INVOKE,
        "generation_mode": "img2img",
        "model": {"model_name": "dream_v8", "base_model": "sd-1"},
        "loras": [{"lora": {"model_name": "brush", "base_model": "sd-1"}, "weight": 0.8}],
    }
    extras = generation_of_image(invoke_png(tmp_path / "a.png", settings)).extras
    assert {"LoRA brush:0.8", "model dream_v8", "generation_mode img2img"} <= set(extras)


def test_novelai(tmp_path):
    """PNG texts `Software`, `Description`, `Source`, and `Comment` with JSON.

    Format: `extract_png_text_metadata` in `nai_sig.py`, github.com/NovelAI/novelai-image-metadata.
    """
    found = generation_of_image(novelai_png(tmp_path / "a.png"))
    assert found.tool == "NovelAI"
    assert found.values == {**COMMON, "sampler": "k_dpmpp_2m", "scheduler": "karras"}
    assert set(found.extras) == {"Model Stable Diffusion XL C1E1DE52", "cfg_rescale 0.2"}


def test_novelai_webp(tmp_path):
    """An Exif comment with JSON, which may be within another JSON object.

    Format: `extract_exif_metadata` and `decoded_comment` in `nai_sig.py`, github.com/NovelAI/novelai-image-metadata.
    """
    for settings in (NOVELAI, {"Comment": json.dumps(NOVELAI)}):
        found = generation_of_image(novelai_webp(tmp_path / "a.webp", settings))
        assert found.tool == "NovelAI"
        assert found.values == {**COMMON, "sampler": "k_dpmpp_2m", "scheduler": "karras"}
        assert "Model NovelAI Diffusion V4.5" in found.extras


def test_early_novelai(tmp_path):
    """Early versions have the prompt only in `Description`, and no schedule.

    Format: the example in the README of github.com/tuki0918/novelai-png-metadata-cli.
    """
    settings = {
        "steps": 28,
        "sampler": "k_euler_ancestral",
        "seed": 2253955223,
        "strength": 0.7,
        "scale": 11,
        "uc": "bad",
    }
    found = generation_of_image(novelai_png(tmp_path / "a.png", settings))
    assert (found.values["prompt"], found.values["scheduler"]) == ("a lighthouse", "native")
    assert "strength 0.7" in found.extras


def test_characters_of_novelai_4(tmp_path):
    """Version 4 has a prompt for each character in `v4_prompt`."""
    caption = {"base_caption": "a lighthouse", "char_captions": [{"char_caption": "a keeper", "centers": []}]}
    found = generation_of_image(novelai_png(tmp_path / "a.png", {**NOVELAI, "v4_prompt": {"caption": caption}}))
    assert "character prompt a keeper" in found.extras


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_fooocus(tmp_path, suffix):
    """PNG texts `parameters` with JSON and `fooocus_scheme`, or a comment in the first Exif directory.

    Format: `FooocusMetadataParser` and `get_exif` in `modules/meta_parser.py`, github.com/lllyasviel/Fooocus.
    """
    path = tmp_path / f"a.{suffix}"
    found = generation_of_image(fooocus_png(path) if suffix == "png" else fooocus_exif(path))
    assert found.tool == "Fooocus"
    assert found.values == {**COMMON, "sampler": "dpmpp_2m", "scheduler": "karras"}
    assert {"LoRA brush:0.8", "base_model juggernautXL", "styles ['Fooocus V2']", "sharpness 2.0"} <= set(found.extras)


def test_fooocus_with_the_scheme_of_a1111(tmp_path):
    """The prompt has the texts of the styles; the user's prompt is in `Raw prompt`.

    Format: `A1111MetadataParser.parse_string` in `modules/meta_parser.py`, github.com/lllyasviel/Fooocus.
    """
    text = (
        "a lighthouse, cinematic still\nNegative prompt: blurry, anime\n"
        "Steps: 12, Sampler: DPM++ 2M Karras, Seed: 77, Size: 128x192, CFG scale: 6.5, Sharpness: 2, "
        'ADM Guidance: "(1.5, 0.8, 0.3)", Model: juggernautXL, Scheduler: karras, Raw prompt: a lighthouse, '
        "Raw negative prompt: blurry, Version: Fooocus v2.5.5"
    )
    found = generation_of_image(png(tmp_path / "a.png", parameters=text, fooocus_scheme="a1111"))
    assert found.tool == "Fooocus"
    assert found.values == {**COMMON, "sampler": "DPM++ 2M Karras", "scheduler": "karras"}


def test_text_in_other_alphabets(tmp_path):
    text = "灯台、夕焼け 🦊\n" + A1111.split("\n")[-1]
    for path in (a1111_png(tmp_path / "a.png", text), a1111_exif(tmp_path / "a.jpg", text)):
        assert generation_of_image(path).values["prompt"] == "灯台、夕焼け 🦊"


@pytest.mark.parametrize("comment", [A1111.encode(), b"ASCII\0\0\0" + A1111.encode(), b"\0" * 8 + A1111.encode()])
def test_comments_in_other_encodings(tmp_path, comment):
    assert generation_of_image(with_comment(tmp_path / "a.jpg", comment)).values == A1111_VALUES


# -- untrusted content -----------------------------------------------------------------------------------------------


def test_values_of_an_invalid_type_become_extras(tmp_path):
    """Such values are named and not used: a negative seed, a size that is not a number, a prompt that is a list."""
    wrong = {
        "positive_prompt": ["a"],
        "steps": "many",
        "cfg_scale": 1e308,
        "seed": -1,
        "width": 3.5,
        "height": True,
        "scheduler": "euler",
    }
    found = generation_of_image(invoke_png(tmp_path / "a.png", {**INVOKE, **wrong}))
    assert found.values == {"negative": "blurry", "sampler": "euler", "scheduler": "Uniform"}
    shown = {'positive_prompt ["a"]', "steps many", "cfg_scale 1e+308", "seed -1", "width 3.5", "height true"}
    assert shown <= set(found.extras)


def test_long_values_are_shortened(tmp_path):
    settings = {**INVOKE, "note": "x" * 5000, **{f"k{n}": n + 1 for n in range(500)}}
    extras = generation_of_image(invoke_png(tmp_path / "a.png", settings)).extras
    assert max(map(len, extras)) < 80
    assert len(extras) == 101
    assert extras[-1] == "405 more settings"


def test_control_characters_are_removed(tmp_path):
    settings = {"sui_image_params": {"prompt": "a\x1b[31m b\r\nc\ud800", "model": "x\ny\x07"}}
    found = generation_of_image(swarm_png(tmp_path / "a.png", settings))
    assert found.values["prompt"] == "a[31m b\nc\ufffd"
    assert found.extras == ("model x y",)


HOSTILE = {
    "a list": {"parameters": "[1, 2]"},
    "deep brackets": {"parameters": '{"a":' + "[" * 100_000},
    "nested objects": {"parameters": '{"sui_image_params":' + '{"a":' * 500 + "1" + "}" * 501},
    "a number of many digits": {"parameters": '{"sui_image_params": {"prompt": "x", "seed": ' + "9" * 5000 + "}}"},
    "blanks": {"parameters": "Steps: 1, a: b, c: d" + " " * 200_000 + "x"},
    "names without a colon": {"parameters": "Steps: 1, a: b, c: d, " + "x " * 100_000},
    "open quotes": {"parameters": "Steps: 1, a: b, c: d, " + 'x: "\\"' * 40_000},
    "open braces": {"parameters": "Steps: 1, a: b, c: d, " + "x: {" * 60_000},
    "open tags": {"parameters": "<lora:" * 40_000 + "\nSteps: 1, Seed: 2, CFG scale: 3"},
    "a comment that is a list": {"Software": "NovelAI", "Comment": "[]"},
    "a comment of wrong types": {"Software": "NovelAI", "Comment": '{"v4_prompt": {"caption": {"char_captions": 5}}}'},
    "InvokeAI as a list": {"invokeai_metadata": "[]"},
    "LoRAs of wrong types": {"invokeai_metadata": '{"loras": [1, null, {"model": []}], "model": "x"}'},
    "Fooocus of wrong types": {
        "parameters": '{"prompt": {}, "loras": {"a": 1}, "resolution": [], "lora_combined_1": {}}',
        "fooocus_scheme": "fooocus",
    },
    "a text without settings": {"parameters": "a lighthouse, 4k"},
}


@pytest.mark.parametrize("chunks", HOSTILE.values(), ids=HOSTILE)
def test_damaged_metadata_is_read_or_ignored_in_bounded_time(tmp_path, chunks):
    path = png(tmp_path / "a.png", **chunks)
    begin = time.process_time()
    found = generation_of_image(path)
    assert time.process_time() - begin < 5
    assert found is None or set(found.values) <= set(ROLES)


def test_a_damaged_exif_directory(tmp_path):
    """Its address is behind the end of the data."""
    notes = PngInfo()
    notes.add_text("parameters", A1111)
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 2**32 - 16, 0)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=notes, exif=exif)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        assert generation_of_image(tmp_path / "a.png").values == A1111_VALUES


def test_a_long_text_is_ignored(tmp_path):
    assert generation_of_image(png(tmp_path / "a.png", parameters="x" * 300_000 + "\n" + A1111)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def variants(settings):
    """Return a strategy of the settings with other values for any of their names."""
    return st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in settings.items()})


@given(
    st.fixed_dictionaries(
        {
            "swarm": variants(SWARM["sui_image_params"]),
            "fooocus": variants(FOOOCUS),
            "invoke": variants(INVOKE),
            "novelai": variants({**NOVELAI, "v4_prompt": {}}),
            "comment": st.binary(max_size=200),
        }
    )
)
def test_any_values_are_read(tmp_path_factory, settings):
    """No value raises another error, and values of roles have the right type."""
    folder = tmp_path_factory.mktemp("any")
    for path in (
        swarm_png(folder / "s.png", {"sui_image_params": settings["swarm"]}),
        fooocus_png(folder / "f.png", settings["fooocus"]),
        invoke_png(folder / "i.png", settings["invoke"]),
        novelai_png(folder / "n.png", settings["novelai"]),
        with_comment(folder / "c.jpg", b"UNICODE\0" + settings["comment"]),
    ):
        found = generation_of_image(path)
        if found is not None:
            for role, value in found.values.items():
                kinds = {"cfg": float, "prompt": str, "negative": str, "sampler": str, "scheduler": str}
                assert type(value) is kinds.get(role, int)
            assert all(isinstance(one, str) and "\n" not in one for one in found.extras)


def test_files_that_are_not_images(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ImageError, match="can't be read as an image"):
        generation_of_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match="there is no file"):
        generation_of_image(tmp_path / "missing.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "bare.png")
    assert generation_of_image(tmp_path / "bare.png") is None

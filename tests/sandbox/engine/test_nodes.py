"""Node descriptions have ComfyUI's format and match the functions of the nodes; results of the image nodes."""

import inspect
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.sandbox.engine import image_ops
from comflowy_nb.sandbox.engine.image_ops import read_image
from comflowy_nb.sandbox.engine.latents import Latent
from comflowy_nb.sandbox.engine.nodes import EXAMPLE_IMAGE, NODE_TYPES, Context, input_path

DEFAULT_GRAPH_NODES = {
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "EmptyLatentImage",
    "KSampler",
    "VAEDecode",
    "VAEEncode",
    "SaveImage",
}
IMAGE_NODES = {"EmptyImage", "LoadImage", "ImageScale", "ImageInvert", "ImageBlend", "ImageBlur", "PreviewImage"}


@pytest.fixture
def do(tmp_path):
    context = Context(tmp_path, lambda done, total: None, lambda: None)

    def call(node, **inputs):
        return NODE_TYPES[node].function(context, **inputs)

    return call


def image(*colours):
    return np.array(colours, dtype=np.float32).reshape(1, 1, -1, 3)


def test_the_nodes_are_those_of_the_default_graph_and_the_image_nodes():
    assert set(NODE_TYPES) == DEFAULT_GRAPH_NODES | IMAGE_NODES


@pytest.mark.parametrize("node", sorted(NODE_TYPES))
def test_inputs_have_the_form_of_object_info(node):
    for kind, options in NODE_TYPES[node].inputs.values():
        assert isinstance(options, dict)
        if isinstance(kind, list):
            assert kind
        elif kind in {"INT", "FLOAT"}:
            assert options["min"] <= options["default"] <= options["max"]


@pytest.mark.parametrize("node", sorted(NODE_TYPES))
def test_each_function_accepts_the_described_inputs(node):
    taken = list(inspect.signature(NODE_TYPES[node].function).parameters)[1:]
    described = list(NODE_TYPES[node].inputs)
    assert taken[: len(described)] == described


def test_ranges_of_the_sampler_are_comfyuis():
    inputs = NODE_TYPES["KSampler"].inputs
    assert inputs["seed"][1]["max"] == 18446744073709551615
    assert inputs["steps"] == ["INT", {"default": 20, "min": 1, "max": 10000}]
    assert inputs["cfg"] == ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}]
    assert inputs["denoise"] == ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}]
    assert inputs["sampler_name"][0] == ["euler", "euler_ancestral", "heun", "dpmpp_2m", "ddim", "lms"]
    assert inputs["scheduler"][0] == ["normal", "karras", "exponential", "simple"]


def test_checkpoints_begin_with_the_default_graphs():
    (choices, _options) = NODE_TYPES["CheckpointLoaderSimple"].inputs["ckpt_name"]
    assert choices[0] == "v1-5-pruned-emaonly-fp16.safetensors"
    assert len(choices) == 3


def test_load_image_accepts_an_upload():
    assert NODE_TYPES["LoadImage"].inputs["image"][1] == {"image_upload": True}


def test_empty_image_has_the_requested_colour(do):
    (made,) = do("EmptyImage", width=5, height=3, batch_size=2, color=0xFF8000)
    assert made.shape == (2, 3, 5, 3)
    assert np.allclose(made[0, 0, 0], [1, 128 / 255, 0])


def test_invert_inverts_every_colour(do):
    (made,) = do("ImageInvert", image=image([0, 0.25, 1]))
    assert np.allclose(made, [1, 0.75, 0])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("normal", 0.2),
        ("multiply", 0.12),
        ("screen", 0.68),
        ("overlay", 0.36),
        ("soft_light", 0.6 - 0.6 * 0.6 * 0.4),
        ("difference", 0.4),
    ],
)
def test_blend_modes(do, mode, expected):
    grey, other = image([0.6] * 3), image([0.2] * 3)
    (made,) = do("ImageBlend", image1=grey, image2=other, blend_factor=1.0, blend_mode=mode)
    assert made[0, 0, 0, 0] == pytest.approx(expected, abs=1e-5)
    (half,) = do("ImageBlend", image1=grey, image2=other, blend_factor=0.5, blend_mode=mode)
    assert half[0, 0, 0, 0] == pytest.approx(0.6 + (expected - 0.6) / 2, abs=1e-5)


def test_blend_adapts_the_second_image_to_size_and_batch_of_the_first(do):
    below, above = np.zeros((3, 8, 12, 3), dtype=np.float32), np.ones((1, 30, 20, 3), dtype=np.float32)
    (made,) = do("ImageBlend", image1=below, image2=above, blend_factor=0.25, blend_mode="normal")
    assert made.shape == (3, 8, 12, 3)
    assert np.allclose(made, 0.25, atol=1e-5)


def test_blur_spreads_a_point_and_keeps_its_total_brightness(do):
    point = np.zeros((1, 21, 21, 3), dtype=np.float32)
    point[0, 10, 10] = 1
    (made,) = do("ImageBlur", image=point, blur_radius=4, sigma=0.5)
    assert made.sum() == pytest.approx(3, rel=1e-4)
    assert made[0, 10, 10, 0] < 0.1
    assert np.allclose(made, made[:, ::-1, ::-1], atol=1e-6)


def test_blur_may_be_wider_than_the_image(do):
    (made,) = do("ImageBlur", image=np.full((1, 3, 3, 3), 0.5, dtype=np.float32), blur_radius=31, sigma=10.0)
    assert np.allclose(made, 0.5, atol=1e-4)


@pytest.mark.parametrize("method", list(image_ops.RESAMPLING))
def test_scale_returns_the_requested_size(do, method):
    image = np.random.default_rng(1).random((2, 20, 30, 3)).astype(np.float32)
    (made,) = do("ImageScale", image=image, upscale_method=method, width=64, height=16, crop="disabled")
    assert made.shape == (2, 16, 64, 3)
    assert made.mean() == pytest.approx(image.mean(), abs=0.03)


def test_scale_crops_the_centre_or_keeps_the_aspect_ratio(do):
    image = np.zeros((1, 10, 30, 3), dtype=np.float32)
    image[:, :, 10:20] = 1
    (cropped,) = do("ImageScale", image=image, upscale_method="bilinear", width=20, height=20, crop="center")
    assert cropped.min() > 0.99
    (followed,) = do("ImageScale", image=image, upscale_method="bilinear", width=0, height=20, crop="disabled")
    assert followed.shape == (1, 20, 60, 3)
    (same,) = do("ImageScale", image=image, upscale_method="bilinear", width=0, height=0, crop="disabled")
    assert (same == image).all()


def test_scale_rejects_sizes_that_exceed_the_memory(do):
    image = np.zeros((16, 8, 8, 3), dtype=np.float32)
    with pytest.raises(ValueError, match=r"too large: the sandbox renders up to 16\.8 million pixels"):
        do("ImageScale", image=image, upscale_method="area", width=4096, height=4096, crop="disabled")
    tall = np.zeros((1, 1000, 1, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="too large"):
        do("ImageScale", image=tall, upscale_method="area", width=4096, height=0, crop="disabled")


def test_encode_rejects_sizes_that_cannot_be_painted(do):
    with pytest.raises(ValueError, match="scale with ImageScale first"):
        do("VAEEncode", pixels=np.zeros((1, 8, 4000, 3), dtype=np.float32), vae="v1-5-pruned-emaonly-fp16.safetensors")


def test_encode_keeps_size_and_batch(do):
    (latent,) = do("VAEEncode", pixels=np.zeros((2, 40, 60, 3), dtype=np.float32), vae="x")
    assert isinstance(latent, Latent)
    assert (latent.width, latent.height, len(latent.samples)) == (60, 40, 2)


def test_load_image_reads_colours_and_mask(do, tmp_path):
    rgba = np.zeros((4, 6, 4), dtype=np.uint8)
    rgba[..., 0], rgba[..., 3] = 255, 51
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image, mask = do("LoadImage", image="a.png")
    assert np.allclose(image[0, 0, 0], [1, 0, 0])
    assert np.allclose(mask, 0.8)


def test_load_image_applies_the_exif_orientation(do, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.new("RGB", (30, 20)).save(tmp_path / "p.jpg", exif=exif)
    image, _ = do("LoadImage", image="p.jpg")
    assert image.shape == (1, 30, 20, 3)


def test_the_example_image_can_always_be_loaded_unless_the_folder_has_one_of_its_name(do, tmp_path):
    image, _ = do("LoadImage", image=EXAMPLE_IMAGE)
    assert image.shape == (1, 512, 512, 3)
    assert image.std() > 0.1
    Image.new("RGB", (30, 20)).save(tmp_path / EXAMPLE_IMAGE)
    image, _ = do("LoadImage", image=EXAMPLE_IMAGE)
    assert image.shape == (1, 20, 30, 3)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_file_that_is_not_an_image_is_rejected_by_name_without_its_path(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot identify image file 'broken\.png'") as caught:
        read_image(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_truncated_image_is_rejected(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot identify"):
        read_image(tmp_path / "a.png")


def test_a_huge_image_is_rejected_before_it_is_decoded(tmp_path):
    Image.new("1", (5000, 5000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"5000x5000 pixels; the sandbox accepts up to 16\.8 million"):
        read_image(tmp_path / "huge.png")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "/etc/passwd",
        "sub/../../secret.png",
        "",
        ".",
        "..",
        "a\0b.png",
        "..\\secret.png",
        "x" * 2000,
        "gone.png",
    ],
)
def test_load_image_never_leaves_its_folder(tmp_path, name):
    folder = tmp_path / "inputs"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    with pytest.raises(ValueError, match="Invalid image file"):
        input_path(folder, name)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_load_image_follows_no_link_out_of_its_folder(tmp_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    Path(folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match="Invalid image file"):
        input_path(folder, "link.png")


def test_load_image_accepts_subfolders_and_comfyuis_annotated_names(tmp_path):
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "sub" / "a.png")
    assert input_path(tmp_path, "sub/a.png") == input_path(tmp_path, "sub/a.png [input]")

"""Node types of the sandbox: inputs as in ComfyUI's /object_info, outputs and functions.

The function of a node gets a `Context` and the inputs by name, and returns one value per output, in order. Output nodes
(SaveImage, PreviewImage) return their images as one value; the engine creates the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from comflowy_nb.sandbox.engine import diffusion, image_ops
from comflowy_nb.sandbox.engine.latents import Latent, decode, empty_latent, encode
from comflowy_nb.sandbox.engine.prompts import Conditioning, read_prompt
from comflowy_nb.sandbox.engine.scene_set import scene_set
from comflowy_nb.sandbox.engine.styles import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.sandbox.engine.image_ops import Pixels

Function: TypeAlias = "Callable[..., tuple[Any, ...]]"
Kind: TypeAlias = Literal["output", "temp"]

MAX_SEED: Final = 2**64 - 1
MAX_PAINTED_SIDE_PX: Final = 2048
MAX_BATCH: Final = 16
EXAMPLE_IMAGE: Final = "example.png"  # always available: from the package if the folder has no file of this name


@dataclass(frozen=True, slots=True)
class Context:
    """The run, for the function of a node.

    Parameters
    ----------
    input_folder : Path
        Folder of the uploaded images.
    on_step : callable
        Called with (steps done, total steps).
    check_stop : callable
        Raises `Stopped` if the run is cancelled.
    """

    input_folder: Path
    on_step: Callable[[int, int], None]
    check_stop: Callable[[], None]


@dataclass(frozen=True, slots=True)
class NodeType:
    """A type of node.

    Parameters
    ----------
    title : str
        The display name.
    inputs : mapping
        Name -> [type or list of choices, options], as in ComfyUI's /object_info.
    outputs : list of str
        The types of its outputs.
    function : callable
        Called with a `Context` and the inputs by name.
    output_kind : {"output", "temp"}, optional
        The kind of the files of an output node.
    """

    title: str
    inputs: Mapping[str, list[Any]]
    outputs: list[str]
    function: Function
    output_kind: Kind | None = None


NODE_TYPES: Final[dict[str, NodeType]] = {}


def _node(
    class_type: str, title: str, inputs: Mapping[str, list[Any]], outputs: list[str], output_kind: Kind | None = None
) -> Callable[[Function], Function]:
    """Register a function as a node type."""

    def register(function: Function) -> Function:
        NODE_TYPES[class_type] = NodeType(title, inputs, outputs, function, output_kind)
        return function

    return register


def _whole(default: int, low: int, high: int, **more: Any) -> list[Any]:
    return ["INT", {"default": default, "min": low, "max": high, **more}]


def _real(default: float, low: float, high: float, step: float, **more: Any) -> list[Any]:
    return ["FLOAT", {"default": default, "min": low, "max": high, "step": step, **more}]


_BATCH_SIZE: Final = _whole(1, 1, MAX_BATCH)


# -- sampling ---------------------------------------------------------------------------------------------------------


@_node("CheckpointLoaderSimple", "Load Checkpoint", {"ckpt_name": [list(CHECKPOINTS), {}]}, ["MODEL", "CLIP", "VAE"])
def _load_checkpoint(_: Context, *, ckpt_name: str) -> tuple[Any, ...]:
    return (ckpt_name, ckpt_name, ckpt_name)


@_node(
    "CLIPTextEncode",
    "CLIP Text Encode (Prompt)",
    {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP", {}]},
    ["CONDITIONING"],
)
def _encode_text(_: Context, *, text: str, clip: str) -> tuple[Any, ...]:
    del clip
    return (read_prompt(text),)


@_node(
    "EmptyLatentImage",
    "Empty Latent Image",
    {
        "width": _whole(512, 16, MAX_PAINTED_SIDE_PX, step=8),
        "height": _whole(512, 16, MAX_PAINTED_SIDE_PX, step=8),
        "batch_size": _BATCH_SIZE,
    },
    ["LATENT"],
)
def _empty_latent(_: Context, *, width: int, height: int, batch_size: int) -> tuple[Any, ...]:
    return (empty_latent(width, height, batch_size),)


@_node(
    "KSampler",
    "KSampler",
    {
        "model": ["MODEL", {}],
        "seed": _whole(0, 0, MAX_SEED, control_after_generate=True),
        "steps": _whole(20, 1, 10000),
        "cfg": _real(8.0, 0.0, 100.0, 0.1, round=0.01),
        "sampler_name": [list(diffusion.SAMPLERS), {}],
        "scheduler": [list(diffusion.SCHEDULERS), {}],
        "positive": ["CONDITIONING", {}],
        "negative": ["CONDITIONING", {}],
        "latent_image": ["LATENT", {}],
        "denoise": _real(1.0, 0.0, 1.0, 0.01),
    },
    ["LATENT"],
)
def _sample(
    context: Context,
    *,
    model: str,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: float,
) -> tuple[Any, ...]:
    def after_step(done: int, total: int) -> None:
        context.on_step(done, total)
        context.check_stop()

    sampled = diffusion.sample(
        scene_set(model, latent_image.canvas),
        latent_image.samples,
        positive=positive,
        negative=negative,
        seed=seed,
        steps=steps,
        cfg=cfg,
        sampler=sampler_name,
        scheduler=scheduler,
        denoise=denoise,
        after_step=after_step,
    )
    return (Latent(sampled, latent_image.width, latent_image.height),)


@_node("VAEDecode", "VAE Decode", {"samples": ["LATENT", {}], "vae": ["VAE", {}]}, ["IMAGE"])
def _decode(context: Context, *, samples: Latent, vae: str) -> tuple[Any, ...]:
    images = []
    for image in range(len(samples.samples)):
        context.check_stop()
        images.append(decode(samples, image, vae))
    return (np.stack(images),)


@_node("VAEEncode", "VAE Encode", {"pixels": ["IMAGE", {}], "vae": ["VAE", {}]}, ["LATENT"])
def _encode(_: Context, *, pixels: Pixels, vae: str) -> tuple[Any, ...]:
    del vae
    count, height, width, _channels = pixels.shape
    if max(width, height) > MAX_PAINTED_SIDE_PX or min(width, height) < 16:
        limits = f"the sandbox renders 16 to {MAX_PAINTED_SIDE_PX} pixels per side; scale with ImageScale first"
        raise ValueError(f"{count} images of {width}x{height}: {limits}")
    return (encode(pixels),)


# -- images -----------------------------------------------------------------------------------------------------------


@_node(
    "SaveImage",
    "Save Image",
    {"images": ["IMAGE", {}], "filename_prefix": ["STRING", {"default": "ComfyUI"}]},
    [],
    output_kind="output",
)
@_node("PreviewImage", "Preview Image", {"images": ["IMAGE", {}]}, [], output_kind="temp")
def _show(_: Context, *, images: Pixels, filename_prefix: str = "") -> tuple[Any, ...]:
    del filename_prefix
    return (images,)


@_node("LoadImage", "Load Image", {"image": [[EXAMPLE_IMAGE], {"image_upload": True}]}, ["IMAGE", "MASK"])
def _load_image(context: Context, *, image: str) -> tuple[Any, ...]:
    return image_ops.read_image(input_path(context.input_folder, image))


@_node(
    "EmptyImage",
    "EmptyImage",
    {
        "width": _whole(512, 1, image_ops.MAX_SIDE_PX, step=1),
        "height": _whole(512, 1, image_ops.MAX_SIDE_PX, step=1),
        "batch_size": _BATCH_SIZE,
        "color": _whole(0, 0, 0xFFFFFF, step=1, display="color"),
    },
    ["IMAGE"],
)
def _empty_image(_: Context, *, width: int, height: int, batch_size: int, color: int) -> tuple[Any, ...]:
    colour = np.array([color >> 16 & 255, color >> 8 & 255, color & 255], dtype=np.float32) / np.float32(255)
    return (np.broadcast_to(colour, (batch_size, height, width, 3)).copy(),)


@_node(
    "ImageScale",
    "Upscale Image",
    {
        "image": ["IMAGE", {}],
        "upscale_method": [list(image_ops.RESAMPLING), {}],
        "width": _whole(512, 0, image_ops.MAX_SIDE_PX, step=1),
        "height": _whole(512, 0, image_ops.MAX_SIDE_PX, step=1),
        "crop": [["disabled", "center"], {}],
    },
    ["IMAGE"],
)
def _scale(_: Context, *, image: Pixels, upscale_method: str, width: int, height: int, crop: str) -> tuple[Any, ...]:
    count, old_height, old_width, _channels = image.shape
    _require_area(
        width or round(old_width * height / old_height), height or round(old_height * width / old_width), count
    )
    return (image_ops.scale(image, width, height, upscale_method, crop),)


@_node("ImageInvert", "Invert Image", {"image": ["IMAGE", {}]}, ["IMAGE"])
def _invert(_: Context, *, image: Pixels) -> tuple[Any, ...]:
    return (1 - image,)


@_node(
    "ImageBlend",
    "Blend Images",
    {
        "image1": ["IMAGE", {}],
        "image2": ["IMAGE", {}],
        "blend_factor": _real(0.5, 0.0, 1.0, 0.01),
        "blend_mode": [["normal", "multiply", "screen", "overlay", "soft_light", "difference"], {}],
    },
    ["IMAGE"],
)
def _blend(_: Context, *, image1: Pixels, image2: Pixels, blend_factor: float, blend_mode: str) -> tuple[Any, ...]:
    _require_area(image1.shape[2], image1.shape[1], max(len(image1), len(image2)))
    return (image_ops.blend(image1, image2, blend_factor, blend_mode),)


@_node(
    "ImageBlur",
    "Blur Image",
    {"image": ["IMAGE", {}], "blur_radius": _whole(1, 1, 31, step=1), "sigma": _real(1.0, 0.1, 10.0, 0.1)},
    ["IMAGE"],
)
def _blur(_: Context, *, image: Pixels, blur_radius: int, sigma: float) -> tuple[Any, ...]:
    return (image_ops.blur(image, blur_radius, sigma),)


def _require_area(width: int, height: int, count: int) -> None:
    if width * height * count > image_ops.MAX_AREA_PX or max(width, height) > image_ops.MAX_SIDE_PX:
        most = f"{image_ops.MAX_AREA_PX / 1e6:.1f} million pixels in total"
        raise ValueError(f"{count} images of {width}x{height} are too large: the sandbox renders up to {most}")


def input_path(folder: Path, name: str) -> Path:
    """Return the path of a file that LoadImage names.

    Raises
    ------
    ValueError
        If the file does not exist, or is outside the folder after symbolic links are resolved.
    """
    problem = f"Invalid image file: {name}"
    plain = name.removesuffix(" [input]")
    if not plain or "\0" in plain or "\\" in plain or len(plain) > 1024:
        raise ValueError(problem)
    try:
        path = (folder / plain).resolve()
        inside = path.is_relative_to(folder.resolve())
        if inside and path.is_file():
            return path
    except OSError:
        inside = False
    if inside and plain == EXAMPLE_IMAGE:
        return Path(__file__).with_name("example.jpg")
    raise ValueError(problem)

"""Node types of the sandbox: inputs and outputs as in ComfyUI's /object_info, and their functions.

The function of a node gets a `Context` and the inputs by name, and returns one value per output, in order. Output nodes
(SaveImage, PreviewImage) return their images as one value; the engine creates the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from comflowy_nb.sandbox.engine import diffusion, image_ops
from comflowy_nb.sandbox.engine.inputs import EXAMPLE_IMAGE, input_path
from comflowy_nb.sandbox.engine.latents import Latent, decode, empty_latent, encode
from comflowy_nb.sandbox.engine.prompts import Conditioning, read_prompt
from comflowy_nb.sandbox.engine.scene_set import scene_set
from comflowy_nb.sandbox.engine.styles import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.sandbox.engine.image_ops import Pixels

MAX_SEED: Final = 2**64 - 1
MAX_PAINTED_SIDE_PX: Final = 2048
MAX_BATCH: Final = 16


def _node(
    name: str, category: str, outputs: list[str], required: dict[str, Any], *, is_output: bool = False
) -> dict[str, Any]:
    inputs: dict[str, Any] = {"required": required}
    order = {"required": list(required)}
    if is_output:
        inputs["hidden"] = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
        order["hidden"] = list(inputs["hidden"])
    return {
        "input": inputs,
        "input_order": order,
        "output": outputs,
        "output_name": outputs,
        "output_is_list": [False] * len(outputs),
        "display_name": name,
        "description": "",
        "category": category,
        "output_node": is_output,
    }


def _whole(default: int, low: int, high: int, **more: Any) -> list[Any]:
    return ["INT", {"default": default, "min": low, "max": high, **more}]


def _real(default: float, low: float, high: float, step: float, **more: Any) -> list[Any]:
    return ["FLOAT", {"default": default, "min": low, "max": high, "step": step, **more}]


_SIZE: Final = {
    "width": _whole(512, 16, MAX_PAINTED_SIDE_PX, step=8),
    "height": _whole(512, 16, MAX_PAINTED_SIDE_PX, step=8),
}
_BLEND_MODES: Final = ["normal", "multiply", "screen", "overlay", "soft_light", "difference"]

OBJECT_INFO: Final[dict[str, dict[str, Any]]] = {
    "CheckpointLoaderSimple": _node(
        "Load Checkpoint", "loaders", ["MODEL", "CLIP", "VAE"], {"ckpt_name": [list(CHECKPOINTS), {}]}
    ),
    "CLIPTextEncode": _node(
        "CLIP Text Encode (Prompt)",
        "conditioning",
        ["CONDITIONING"],
        {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP", {}]},
    ),
    "EmptyLatentImage": _node(
        "Empty Latent Image", "latent", ["LATENT"], {**_SIZE, "batch_size": _whole(1, 1, MAX_BATCH)}
    ),
    "KSampler": _node(
        "KSampler",
        "sampling",
        ["LATENT"],
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
    ),
    "VAEDecode": _node("VAE Decode", "latent", ["IMAGE"], {"samples": ["LATENT", {}], "vae": ["VAE", {}]}),
    "VAEEncode": _node("VAE Encode", "latent", ["LATENT"], {"pixels": ["IMAGE", {}], "vae": ["VAE", {}]}),
    "SaveImage": _node(
        "Save Image",
        "image",
        [],
        {"images": ["IMAGE", {}], "filename_prefix": ["STRING", {"default": "ComfyUI"}]},
        is_output=True,
    ),
    "PreviewImage": _node("Preview Image", "image", [], {"images": ["IMAGE", {}]}, is_output=True),
    "LoadImage": _node("Load Image", "image", ["IMAGE", "MASK"], {"image": [[EXAMPLE_IMAGE], {"image_upload": True}]}),
    "EmptyImage": _node(
        "EmptyImage",
        "image",
        ["IMAGE"],
        {
            "width": _whole(512, 1, image_ops.MAX_SIDE_PX, step=1),
            "height": _whole(512, 1, image_ops.MAX_SIDE_PX, step=1),
            "batch_size": _whole(1, 1, MAX_BATCH),
            "color": _whole(0, 0, 0xFFFFFF, step=1, display="color"),
        },
    ),
    "ImageScale": _node(
        "Upscale Image",
        "image/upscaling",
        ["IMAGE"],
        {
            "image": ["IMAGE", {}],
            "upscale_method": [list(image_ops.RESAMPLING), {}],
            "width": _whole(512, 0, image_ops.MAX_SIDE_PX, step=1),
            "height": _whole(512, 0, image_ops.MAX_SIDE_PX, step=1),
            "crop": [["disabled", "center"], {}],
        },
    ),
    "ImageInvert": _node("Invert Image", "image", ["IMAGE"], {"image": ["IMAGE", {}]}),
    "ImageBlend": _node(
        "Blend Images",
        "image/postprocessing",
        ["IMAGE"],
        {
            "image1": ["IMAGE", {}],
            "image2": ["IMAGE", {}],
            "blend_factor": _real(0.5, 0.0, 1.0, 0.01),
            "blend_mode": [_BLEND_MODES, {}],
        },
    ),
    "ImageBlur": _node(
        "Blur Image",
        "image/postprocessing",
        ["IMAGE"],
        {
            "image": ["IMAGE", {}],
            "blur_radius": _whole(1, 1, 31, step=1),
            "sigma": _real(1.0, 0.1, 10.0, 0.1),
        },
    ),
}
for _name, _entry in OBJECT_INFO.items():
    _entry["name"] = _name


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


def _require_area(width: int, height: int, count: int) -> None:
    if width * height * count > image_ops.MAX_AREA_PX or max(width, height) > image_ops.MAX_SIDE_PX:
        most = f"{image_ops.MAX_AREA_PX / 1e6:.1f} million pixels in total"
        raise ValueError(f"{count} images of {width}x{height} are too large: the sandbox renders up to {most}")


def _load_checkpoint(context: Context, *, ckpt_name: str) -> tuple[Any, ...]:
    del context
    return (ckpt_name, ckpt_name, ckpt_name)


def _encode_text(context: Context, *, text: str, clip: str) -> tuple[Any, ...]:
    del context, clip
    return (read_prompt(text),)


def _empty_latent(context: Context, *, width: int, height: int, batch_size: int) -> tuple[Any, ...]:
    del context
    return (empty_latent(width, height, batch_size),)


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


def _decode(context: Context, *, samples: Latent, vae: str) -> tuple[Any, ...]:
    images = []
    for image in range(len(samples.samples)):
        context.check_stop()
        images.append(decode(samples, image, vae))
    return (np.stack(images),)


def _encode(context: Context, *, pixels: Pixels, vae: str) -> tuple[Any, ...]:
    del context, vae
    count, height, width, _ = pixels.shape
    if max(width, height) > MAX_PAINTED_SIDE_PX or min(width, height) < 16:
        limits = f"the sandbox renders 16 to {MAX_PAINTED_SIDE_PX} pixels per side; scale with ImageScale first"
        raise ValueError(f"{count} images of {width}x{height}: {limits}")
    return (encode(pixels),)


def _load_image(context: Context, *, image: str) -> tuple[Any, ...]:
    return image_ops.read_image(input_path(context.input_folder, image))


def _empty_image(context: Context, *, width: int, height: int, batch_size: int, color: int) -> tuple[Any, ...]:
    del context
    _require_area(width, height, batch_size)
    colour = np.array([color >> 16 & 255, color >> 8 & 255, color & 255], dtype=np.float32) / np.float32(255)
    return (np.broadcast_to(colour, (batch_size, height, width, 3)).copy(),)


def _scale(
    context: Context, *, image: Pixels, upscale_method: str, width: int, height: int, crop: str
) -> tuple[Any, ...]:
    del context
    count, old_height, old_width, _ = image.shape
    _require_area(
        width or round(old_width * height / old_height), height or round(old_height * width / old_width), count
    )
    return (image_ops.scale(image, width, height, upscale_method, crop),)


def _invert(context: Context, *, image: Pixels) -> tuple[Any, ...]:
    del context
    return (1 - image,)


def _blend(
    context: Context, *, image1: Pixels, image2: Pixels, blend_factor: float, blend_mode: str
) -> tuple[Any, ...]:
    del context
    _, height, width, _ = image1.shape
    _require_area(width, height, max(len(image1), len(image2)))
    return (image_ops.blend(image1, image2, blend_factor, blend_mode),)


def _blur(context: Context, *, image: Pixels, blur_radius: int, sigma: float) -> tuple[Any, ...]:
    del context
    return (image_ops.blur(image, blur_radius, sigma),)


def _show(context: Context, *, images: Pixels, filename_prefix: str = "") -> tuple[Any, ...]:
    del context, filename_prefix
    return (images,)


FUNCTIONS: Final[dict[str, Callable[..., tuple[Any, ...]]]] = {
    "CheckpointLoaderSimple": _load_checkpoint,
    "CLIPTextEncode": _encode_text,
    "EmptyLatentImage": _empty_latent,
    "KSampler": _sample,
    "VAEDecode": _decode,
    "VAEEncode": _encode,
    "SaveImage": _show,
    "PreviewImage": _show,
    "LoadImage": _load_image,
    "EmptyImage": _empty_image,
    "ImageScale": _scale,
    "ImageInvert": _invert,
    "ImageBlend": _blend,
    "ImageBlur": _blur,
}

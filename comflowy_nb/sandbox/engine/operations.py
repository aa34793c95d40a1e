"""What the nodes do.

A node's function gets its inputs by name and a `Context`, and returns one value for each output, in order. Output
nodes (SaveImage, PreviewImage) return their images as a single value; the engine makes the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from comflowy_nb.sandbox.engine import diffusion, pixels
from comflowy_nb.sandbox.engine.latents import Latent, decode, empty_latent, encode
from comflowy_nb.sandbox.engine.nodes import MAX_PAINTED_SIDE_PX, input_path
from comflowy_nb.sandbox.engine.prompts import Conditioning, read_prompt
from comflowy_nb.sandbox.engine.scene_set import scene_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.sandbox.engine.pixels import Pixels


@dataclass(frozen=True, slots=True)
class Context:
    """What a node may know of the run it is part of.

    Parameters
    ----------
    input_folder
        Where uploaded images are.
    on_step
        Called with (steps done, steps in all).
    check_stop
        Raises if the run is to end.
    """

    input_folder: Path
    on_step: Callable[[int, int], None]
    check_stop: Callable[[], None]


def _require_area(width: int, height: int, count: int) -> None:
    if width * height * count > pixels.MAX_AREA_PX or max(width, height) > pixels.MAX_SIDE_PX:
        most = f"{pixels.MAX_AREA_PX / 1e6:.1f} million pixels in all"
        raise ValueError(f"{count} images of {width}x{height} are too large: the sandbox makes up to {most}")


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
        limits = f"the sandbox paints 16 to {MAX_PAINTED_SIDE_PX} pixels a side; put an ImageScale before it"
        raise ValueError(f"{count} images of {width}x{height}: {limits}")
    return (encode(pixels),)


def _load_image(context: Context, *, image: str) -> tuple[Any, ...]:
    return pixels.read_image(input_path(context.input_folder, image))


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
    return (pixels.scale(image, width, height, upscale_method, crop),)


def _invert(context: Context, *, image: Pixels) -> tuple[Any, ...]:
    del context
    return (1 - image,)


def _blend(
    context: Context, *, image1: Pixels, image2: Pixels, blend_factor: float, blend_mode: str
) -> tuple[Any, ...]:
    del context
    _, height, width, _ = image1.shape
    _require_area(width, height, max(len(image1), len(image2)))
    return (pixels.blend(image1, image2, blend_factor, blend_mode),)


def _blur(context: Context, *, image: Pixels, blur_radius: int, sigma: float) -> tuple[Any, ...]:
    del context
    return (pixels.blur(image, blur_radius, sigma),)


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

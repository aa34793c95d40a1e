"""The node types of the sandbox: what each takes and gives, in the form of ComfyUI's /object_info."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from comflowy_nb.sandbox.engine import diffusion, pixels
from comflowy_nb.sandbox.engine.styles import CHECKPOINTS

EXAMPLE_IMAGE: Final = "example.png"  # can always be loaded: from the package, if the folder has no such file
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
            "width": _whole(512, 1, pixels.MAX_SIDE_PX, step=1),
            "height": _whole(512, 1, pixels.MAX_SIDE_PX, step=1),
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
            "upscale_method": [list(pixels.RESAMPLING), {}],
            "width": _whole(512, 0, pixels.MAX_SIDE_PX, step=1),
            "height": _whole(512, 0, pixels.MAX_SIDE_PX, step=1),
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


def input_path(folder: Path, name: str) -> Path:
    """The file of an input folder that a LoadImage names.

    Raises
    ------
    ValueError
        If the name leads out of the folder (also by a link), or no such file is there.
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

"""Images with the metadata of other tools, in the documented format of each tool."""

from __future__ import annotations

import json

from PIL import Image
from PIL.PngImagePlugin import PngInfo

EXIF_IFD, USER_COMMENT, SOFTWARE, MAKER_NOTE = 0x8769, 0x9286, 0x0131, 0x927C

A1111 = (
    "a lighthouse, oil painting\nby the sea <lora:brush:0.8>\n"
    "Negative prompt: blurry, text\n"
    "Steps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 1234567890, Size: 128x192, "
    "Model hash: 45dee52b, Model: dream_v8, Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent, "
    'Lora hashes: "brush: 0123abcd, other: 4567", Version: v1.10.1'
)
SWARM = {
    "sui_image_params": {
        "prompt": "a lighthouse",
        "negativeprompt": "blurry",
        "model": "OfficialStableDiffusion/sd_xl_base_1.0",
        "seed": 77,
        "steps": "12",
        "cfgscale": "6.5",
        "aspectratio": "1:1",
        "width": 128,
        "height": 192,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "loras": ["brush", "other"],
        "loraweights": ["0.8", "1"],
        "swarm_version": "0.9.3.1",
    },
    "sui_extra_data": {"date": "2024-11-13", "generation_time": "6.11 (prep) and 4.84 (gen) seconds"},
}
INVOKE = {
    "generation_mode": "txt2img",
    "positive_prompt": "a lighthouse",
    "negative_prompt": "blurry",
    "width": 128,
    "height": 192,
    "seed": 77,
    "cfg_scale": 6.5,
    "steps": 12,
    "scheduler": "dpmpp_2m_k",
    "model": {"key": "a1", "hash": "b2", "name": "dream_v8", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"key": "c3", "name": "brush", "base": "sd-1", "type": "lora"}, "weight": 0.8}],
    "hrf_enabled": True,
    "hrf_strength": 0.45,
    "seamless_x": False,
    "app_version": "5.6.0",
}
NOVELAI = {
    "prompt": "a lighthouse",
    "steps": 12,
    "height": 192,
    "width": 128,
    "scale": 6.5,
    "uncond_scale": 0.0,
    "cfg_rescale": 0.2,
    "seed": 77,
    "n_samples": 1,
    "noise_schedule": "karras",
    "sampler": "k_dpmpp_2m",
    "sm": False,
    "uc": "blurry",
    "request_type": "PromptGenerateRequest",
    "signed_hash": "c2lnbmVk",
}
FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "juggernautXL",
    "base_model_hash": "d91d35736d",
    "full_prompt": ["a lighthouse", "cinematic still a lighthouse"],
    "full_negative_prompt": ["blurry", "anime"],
    "guidance_scale": 6.5,
    "lora_combined_1": "brush : 0.8",
    "loras": [["brush", 0.8, "0123abcd"]],
    "metadata_scheme": "fooocus",
    "negative_prompt": "blurry",
    "performance": "Speed",
    "prompt": "a lighthouse",
    "resolution": "(128, 192)",
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "seed": "77",
    "sharpness": 2.0,
    "steps": 12,
    "styles": "['Fooocus V2']",
    "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}


def png(path, **chunks):
    """Write a PNG file with text chunks."""
    notes = PngInfo()
    for name, text in chunks.items():
        notes.add_text(name, text) if text.isascii() else notes.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=notes)
    return path


def with_comment(path, comment):
    """Write a JPEG or WebP file with an Exif UserComment."""
    exif = Image.Exif()
    exif[EXIF_IFD] = {USER_COMMENT: comment}  # Pillow 10 does not save a change of `get_ifd`
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def a1111_png(path, text=A1111):
    return png(path, parameters=text)


def a1111_exif(path, text=A1111):
    """Write the comment as `piexif.helper.UserComment.dump(text, encoding="unicode")` does, which A1111 uses."""
    return with_comment(path, b"UNICODE\0" + text.encode("utf-16-be"))


def swarm_png(path, settings=SWARM):
    return png(path, parameters=json.dumps(settings, indent=2))


def invoke_png(path, settings=INVOKE):
    return png(path, invokeai_metadata=json.dumps(settings))


def novelai_png(path, settings=NOVELAI, **chunks):
    texts = {
        "Title": "AI generated image",
        "Description": "a lighthouse",
        "Software": "NovelAI",
        "Source": "Stable Diffusion XL C1E1DE52",
        "Comment": json.dumps(settings),
    }
    return png(path, **{**texts, **chunks})


def novelai_webp(path, settings=NOVELAI):
    """Write the comment in ASCII and the model in Software, as `extract_exif_metadata` of NovelAI reads them."""
    exif = Image.Exif()
    exif[0x010D], exif[0x010E], exif[SOFTWARE] = "NovelAI generated image", "a lighthouse", "NovelAI Diffusion V4.5"
    exif[EXIF_IFD] = {USER_COMMENT: b"ASCII\0\0\0" + json.dumps(settings).encode()}
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def fooocus_png(path, settings=FOOOCUS):
    return png(path, parameters=json.dumps(settings), fooocus_scheme="fooocus")


def fooocus_exif(path, settings=FOOOCUS):
    """Write the comment into the first directory, not into the Exif directory, as `get_exif` of Fooocus does."""
    exif = Image.Exif()
    exif[USER_COMMENT] = json.dumps(settings)
    exif[SOFTWARE] = "Fooocus v2.5.5"
    exif[MAKER_NOTE] = "fooocus"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path

"""Read the settings that AUTOMATIC1111, Forge, SwarmUI, InvokeAI, NovelAI and Fooocus write into images.

The library sd-parsers is not used. Its version 0.6 (MIT, of March 2025, one maintainer) does not read SwarmUI and Exif
comments in ASCII or in little-endian UTF-16, drops quoted values (`Lora hashes`, `Hires prompt`), may decode the
pixels, and raises TypeError, AttributeError or RecursionError for damaged metadata.

Sources of the formats:

- AUTOMATIC1111 and Forge: `parse_generation_parameters` in `modules/infotext_utils.py`
  (github.com/AUTOMATIC1111/stable-diffusion-webui).
- SwarmUI: `docs/Image Metadata Format.md` (github.com/mcmonkeyprojects/SwarmUI).
- InvokeAI: `CoreMetadataInvocation` in `invokeai/app/invocations/metadata.py` (github.com/invoke-ai/InvokeAI), and
  https://invoke-ai.github.io/InvokeAI-7/development/architecture/media-metadata/
- NovelAI: `nai_sig.py` (github.com/NovelAI/novelai-image-metadata).
- Fooocus: `modules/meta_parser.py` (github.com/lllyasviel/Fooocus).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.workflow.syntax.json_values import is_finite, is_too_deep, read_json_number

if TYPE_CHECKING:
    from collections.abc import Mapping


ROLES = ("prompt", "negative", "steps", "cfg", "seed", "sampler", "scheduler", "width", "height")

_MAX_TEXT_CHARS = 256 * 1024
_MAX_NAME_CHARS = 100  # maximum length of the name of a sampler or scheduler
_MAX_NUMBER_CHARS = 40
_MAX_SHOWN_CHARS = 60  # maximum length of the value of an extra
_MAX_EXTRAS = 100
_RANGES = {"steps": (1, 10_000), "cfg": (0, 1000), "seed": (0, 2**64 - 1), "width": (1, 65_536), "height": (1, 65_536)}

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
# A1111's expression with bounded names, because unbounded names need quadratic time, and with JSON objects.
_PAIR = re.compile(r'(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])+"|\{[^{}]*\}|[^,]*)(?:,|$)')
_TAG = re.compile(r"<(\w{1,40}):([^<>]{1,400})>")
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_FOOOCUS_SIZE = re.compile(r"\(?\s*(\d{1,6})\s*,\s*(\d{1,6})\s*\)?")
_FORGE = re.compile(r"f\d+\.\d")  # version of Forge: f2.0.1v1.10.1
_MIN_PAIRS = 3  # minimum number of pairs in the line of settings
_IMPORTANT = re.compile(
    r"lora|hyper|model|hires|hrf|refiner|vae|control|upscal|init|denois|strength|clip|style", re.IGNORECASE
)

_A1111 = {
    "Steps": "steps", "CFG scale": "cfg", "Seed": "seed", "Sampler": "sampler",
    "Schedule type": "scheduler", "Scheduler": "scheduler",
}  # fmt: skip
_SWARM = {
    "prompt": "prompt", "negativeprompt": "negative", "steps": "steps", "cfgscale": "cfg", "seed": "seed",
    "sampler": "sampler", "scheduler": "scheduler", "width": "width", "height": "height",
    "comfyuisampler": "sampler", "comfyuischeduler": "scheduler",  # names in earlier versions
}  # fmt: skip
_INVOKE = {
    "positive_prompt": "prompt", "negative_prompt": "negative", "steps": "steps", "cfg_scale": "cfg", "seed": "seed",
    "scheduler": "sampler", "width": "width", "height": "height",
}  # fmt: skip
_NOVELAI = {
    "prompt": "prompt", "uc": "negative", "steps": "steps", "scale": "cfg", "seed": "seed",
    "sampler": "sampler", "noise_schedule": "scheduler", "width": "width", "height": "height",
}  # fmt: skip
_FOOOCUS = {
    "prompt": "prompt", "negative_prompt": "negative", "steps": "steps", "guidance_scale": "cfg", "seed": "seed",
    "sampler": "sampler", "scheduler": "scheduler", "width": "width", "height": "height",
}  # fmt: skip
# Not settings: versions, signatures, and texts that repeat others.
_NOTES = frozenset({
    "Version", "User", "version", "swarm_version", "app_version", "created_by", "metadata_scheme", "signed_hash",
    "request_type", "full_prompt", "full_negative_prompt", "v4_prompt", "v4_negative_prompt", "Raw prompt",
    "Raw negative prompt", "n_samples", "date", "generation_time", "nopreviews", "imageformat",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Generation:
    """The settings of one image of another tool.

    Attributes
    ----------
    tool
        The name of the tool.
    values
        Role -> value, for the roles of `ROLES` that occur in the image. Samplers and schedulers have the tool's names.
    extras
        All other settings as `name value`, such as `LoRA film:0.8`. Settings of models come first.
    """

    tool: str
    values: Mapping[str, Any] = field(default_factory=dict)
    extras: tuple[str, ...] = ()


def find_generation(texts: Mapping[str, str]) -> Generation | None:
    """Find the settings of another tool in the texts of an image; return None if there are none.

    The texts are untrusted. Values of a wrong type or out of range become extras; damaged metadata is ignored.

    Parameters
    ----------
    texts
        The PNG texts by name, and the Exif comment of JPEG and WebP files as `parameters`.
    """
    texts = {name: text for name, text in texts.items() if len(text) <= _MAX_TEXT_CHARS}
    for read in (_read_parameters, _read_invoke, _read_novelai):
        found = read(texts)
        if found is not None and found.values.keys() - {"negative", "scheduler"}:
            return found
    return None


# -- the tools -------------------------------------------------------------------------------------------------------


def _read_parameters(texts: Mapping[str, str]) -> Generation | None:
    """Parse the text `parameters` of four tools: JSON of SwarmUI or Fooocus, or the text format of A1111."""
    text = texts.get("parameters", "")
    settings = _object(text)
    if settings is None:
        return _read_a1111(text, "Fooocus" if "fooocus_scheme" in texts else "AUTOMATIC1111")
    swarm = settings.get("sui_image_params")
    if isinstance(swarm, dict):
        return _generation("SwarmUI", _without_parts(swarm, "loras", "loraweights"), _SWARM, _swarm_loras(swarm))
    is_fooocus = "fooocus_scheme" in texts or settings.get("metadata_scheme") == "fooocus"
    if is_fooocus or str(settings.get("version", "")).startswith("Fooocus"):
        return _read_fooocus(settings)
    return None


def _read_a1111(text: str, tool: str) -> Generation | None:
    """Parse the prompt, the line `Negative prompt:`, and the line of settings, which begins with `Steps:`."""
    lines = text.strip().split("\n")
    number = next((n for n in reversed(range(len(lines))) if lines[n].startswith("Steps: ")), len(lines) - 1)
    pairs = _PAIR.findall(lines[number])
    if len(pairs) < _MIN_PAIRS:
        return None
    settings: dict[str, str] = {}
    for name, value in pairs:
        settings.setdefault(name, _unquote(value.strip()))
    at = next((n for n in range(number) if lines[n].startswith("Negative prompt:")), number)
    negative = "\n".join(lines[at:number]).removeprefix("Negative prompt:").strip()
    # Fooocus adds the texts of its styles to the prompt; the raw prompt is the user's.
    prompts = [settings.get("Raw prompt", "\n".join(lines[:at])), settings.get("Raw negative prompt", negative)]
    version = settings.get("Version", "")
    if version.startswith("Fooocus"):
        tool = "Fooocus"
    elif tool == "AUTOMATIC1111" and _FORGE.match(version):
        tool = "Forge"
    size = _SIZE.fullmatch(settings.get("Size", ""))
    more = [f"text {line}" for line in lines[number + 1 :] if line.strip()]
    values = {"prompt": prompts[0], "negative": prompts[1], **_size_of(size)}
    settings = _without_parts(settings, "Size") if size else settings
    roles = {**_A1111, **{role: role for role in values}}
    return _generation(tool, {**settings, **values}, roles, more, schedule="Uniform")


def _read_fooocus(settings: Mapping[str, Any]) -> Generation | None:
    resolution, loras = settings.get("resolution"), settings.get("loras")
    size = _FOOOCUS_SIZE.fullmatch(resolution) if isinstance(resolution, str) and len(resolution) < 100 else None
    combined = [value for name, value in settings.items() if name.startswith("lora_combined_")]
    named = [lora[:2] for lora in loras if isinstance(lora, list)] if isinstance(loras, list) else []
    extras = [f"LoRA {_shorten(':'.join(map(str, lora)))}" for lora in named] or [
        f"LoRA {_shorten(lora)}" for lora in combined
    ]
    others = {name: value for name, value in settings.items() if not name.startswith("lora") and value != "None"}
    others = _without_parts(others, "resolution") if size else others
    return _generation("Fooocus", {**others, **_size_of(size)}, _FOOOCUS, extras)


def _read_invoke(texts: Mapping[str, str]) -> Generation | None:
    settings = _object(texts.get("invokeai_metadata", ""))
    if settings is None:
        return None
    extras = []
    loras = settings.get("loras")
    for lora in loras if isinstance(loras, list) else ():
        model = lora.get("model", lora.get("lora")) if isinstance(lora, dict) else lora
        weight = lora.get("weight") if isinstance(lora, dict) else None
        extras.append(f"LoRA {_shorten(_model_name(model))}{'' if weight is None else f':{_shorten(weight)}'}")
    others = {name: _model_name(value) for name, value in settings.items() if name != "loras" or not extras}
    if str(others.get("generation_mode", "")).endswith("txt2img"):
        del others["generation_mode"]
    return _generation("InvokeAI", others, _INVOKE, extras, schedule="Uniform")


def _read_novelai(texts: Mapping[str, str]) -> Generation | None:
    """Parse the text `Comment` of a PNG, or the Exif comment of a WebP, which may contain another `Comment`."""
    settings = _object(texts.get("Comment", texts.get("parameters", "")))
    if settings is None or not any("NovelAI" in texts.get(name, "") for name in ("Software", "Title")):
        return None
    inner = settings.get("Comment")
    settings = (_object(inner) if isinstance(inner, str) else None) or settings
    settings = {"prompt": texts.get("Description", "")} | settings
    model = texts.get("Source", texts.get("Software", ""))  # in Exif data, Software is the model
    extras = [f"Model {_shorten(model)}"] if model not in {"", "NovelAI"} else []
    for name, label in (("v4_prompt", "character prompt"), ("v4_negative_prompt", "negative character prompt")):
        caption = settings.get(name)
        caption = caption.get("caption") if isinstance(caption, dict) else None
        characters = caption.get("char_captions") if isinstance(caption, dict) else None
        for character in characters if isinstance(characters, list) else ():
            text = character.get("char_caption") if isinstance(character, dict) else character
            extras += [f"{label} {_shorten(text)}"] if text else []
    return _generation("NovelAI", settings, _NOVELAI, extras, schedule="native")


def _swarm_loras(settings: Mapping[str, Any]) -> list[str]:
    names, weights = (_split_list(settings.get(key)) for key in ("loras", "loraweights"))
    weights += [""] * (len(names) - len(weights))
    return [
        f"LoRA {_shorten(name)}{f':{_shorten(weight)}' if weight != '' else ''}"
        for name, weight in zip(names, weights, strict=False)
    ]


# -- values ----------------------------------------------------------------------------------------------------------


def _generation(
    tool: str,
    settings: Mapping[str, Any],
    roles: Mapping[str, str],
    extras: list[str],
    *,
    schedule: str | None = None,
) -> Generation:
    """Separate settings into values of roles and extras. Disabled settings, such as `false` and 0, are left out.

    Parameters
    ----------
    roles
        Name of a setting -> role.
    extras
        Settings that the caller has already parsed.
    schedule
        The scheduler that the tool uses if only the sampler is in the metadata.
    """
    values: dict[str, Any] = {}
    extras = list(extras)
    for name, setting in settings.items():
        role = roles.get(name)
        value = _value_of(role, setting) if role is not None else None
        if role is not None and value is not None:
            values[role] = value
        elif name not in _NOTES and setting not in (None, "", False) and setting not in ([], {}):
            extras.append(f"{_shorten(name)} {_shorten(setting)}")
    if tool not in {"InvokeAI", "NovelAI"}:
        for role in {"prompt", "negative"} & values.keys():
            tags = _TAG.findall(values[role])
            extras += [f"{'LoRA' if kind == 'lora' else kind} {_shorten(name)}" for kind, name in tags]
            values[role] = _TAG.sub("", values[role]).strip()
    if schedule is not None and "sampler" in values:
        values.setdefault("scheduler", schedule)
    ordered = sorted(dict.fromkeys(extras), key=_rank)
    more = len(ordered) - _MAX_EXTRAS
    return Generation(tool, values, (*ordered[:_MAX_EXTRAS], *([f"{more} more settings"] if more > 0 else [])))


def _rank(extra: str) -> int:
    """Return the sort key of an extra: LoRAs first, then the settings with the largest effect."""
    name = extra.partition(" ")[0]
    return 0 if name == "LoRA" else 1 if _IMPORTANT.search(name) else 2


def _value_of(role: str, setting: object) -> Any:
    """Return the value of a setting; None if it has the wrong type or is out of range."""
    if role in {"prompt", "negative"}:
        return _clean(setting) if isinstance(setting, str) else None
    if role in {"sampler", "scheduler"}:
        is_name = isinstance(setting, str) and 0 < len(setting) <= _MAX_NAME_CHARS
        return _shorten(setting) if is_name else None
    if isinstance(setting, str):
        try:
            setting = read_json_number(setting.strip()) if len(setting) <= _MAX_NUMBER_CHARS else None
        except ValueError:  # too large
            return None
    low, high = _RANGES[role]
    if not is_finite(setting) or not low <= setting <= high:
        return None
    if role == "cfg":
        return float(setting)
    return int(setting) if setting == int(setting) else None


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in a text; None for any other text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and not is_too_deep(found) else None


def _without_parts(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def _size_of(size: re.Match[str] | None) -> dict[str, int]:
    return {} if size is None else {"width": int(size[1]), "height": int(size[2])}


def _unquote(value: str) -> str:
    """Decode a value that A1111 wrote as JSON because it contains a comma, a colon or a line break."""
    if value[:1] == '"' == value[-1:]:
        try:
            found = json.loads(value)
        except ValueError:
            return value
        return found if isinstance(found, str) else value
    return value


def _split_list(value: object) -> list[Any]:
    """Return the items of a list or of a comma-separated text. SwarmUI writes both."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return list(value) if isinstance(value, list) else []


def _model_name(value: object) -> Any:
    """Return the name in InvokeAI's description of a model, in the format of any version. Keep other values."""
    if isinstance(value, dict):
        return next((value[key] for key in ("name", "model_name") if isinstance(value.get(key), str)), value)
    return value


def _clean(text: str) -> str:
    """Return a text with line feeds as line ends, without control characters and lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _LONE_SURROGATE.sub("\ufffd", _CONTROL.sub("", text)).strip()


def _shorten(value: object) -> str:
    """Return a value as one short line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(_clean(text[: 4 * _MAX_SHOWN_CHARS]).split())
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."

"""Convert ComfyUI's description of an input, such as `["FLOAT", {"default": 8.0}]`, to a Field and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.fields import Field, FieldType, is_finite, split_id
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_described", "read_field", "write_described", "write_field"]


def read_field(field_id: str, spec: object, *, node_title: str | None = None, class_type: str | None = None) -> Field:
    """Return a field from ComfyUI's description of an input.

    Parameters
    ----------
    field_id
        `NodeId::name`.
    spec
        `["INT", {...}]`, `["STRING"]`, `[["euler", "heun"], {...}]`, `["COMBO", {"options": [...]}]`,
        `["IMAGEUPLOAD", ...]`, or a choice with `{"image_upload": true}`. Any other type, such as `MODEL`, and options
        that are not a list give a field of type UNKNOWN. Of an option `[name, {...}]`, which adds controls, the name is
        used. Invalid ranges and steps stay in `extra` and are not used.
    node_title, class_type
        Title and class of the node, for errors and displays.

    Raises
    ------
    FieldError
        If the id or the description is invalid.
    """
    split_id(field_id)
    if isinstance(spec, str):  # a hidden input
        spec = [spec]
    if not isinstance(spec, (list, tuple)) or not spec or not isinstance(spec[0], (str, list, tuple)):
        raise FieldError(f'{field_id}: {shown(spec)} is not a description like ["FLOAT", {{"default": 8.0}}]')
    kind = spec[0]
    info: dict[str, Any] = dict(spec[1]) if len(spec) > 1 and isinstance(spec[1], dict) else {}
    type_, options = _type_and_options(kind, info)
    if info.get("image_upload") is True:
        info.pop("image_upload")
        type_ = FieldType.IMAGEUPLOAD

    def text(name: str) -> str | None:
        return info.pop(name) if isinstance(info.get(name), str) else None

    return Field(
        field_id,
        type_,
        options,
        **_usable(info),
        round=info.pop("round") if isinstance(info.get("round"), (bool, int, float)) else None,
        multiline=info.pop("multiline", False) is True,
        node_title=" ".join(node_title.split()) if node_title is not None else None,
        class_type=class_type,
        tooltip=text("tooltip"),
        label_on=text("label_on"),
        label_off=text("label_off"),
        extra=info,
    )


def _type_and_options(kind: str | Sequence[Any], info: dict[str, Any]) -> tuple[FieldType, tuple[Any, ...]]:
    """Return the type and the options of a description; remove the options from `info`."""
    listed: Any = kind
    if isinstance(kind, str):
        name = kind.upper()
        if name != "COMBO":
            is_known = name in FieldType.__members__ and name != "CHOICE"
            return FieldType(name) if is_known else FieldType.UNKNOWN, ()
        listed = info.get("options")
        if listed is not None and not isinstance(listed, (list, tuple)):
            return FieldType.UNKNOWN, ()
        info.pop("options", None)
    options = tuple(map(_option_of, listed or ()))
    return FieldType.CHOICE, tuple(one for one in options if not isinstance(one, float) or math.isfinite(one))


def _usable(info: dict[str, Any]) -> dict[str, Any]:
    """Remove default, range and step from `info` and return them; unusable values are None and stay in `info`."""
    found = {name: info.get(name) for name in ("default", "min", "max", "step")}
    if isinstance(found["default"], float) and not math.isfinite(found["default"]):
        found["default"] = None
    for name in ("min", "max", "step"):
        found[name] = found[name] if is_finite(found[name]) else None
    if found["min"] is not None and found["max"] is not None and found["min"] > found["max"]:
        found["min"] = found["max"] = None
    if found["step"] is not None and found["step"] <= 0:
        found["step"] = None
    for name, value in found.items():
        if value is not None or info.get(name) is None:
            info.pop(name, None)
    return found


def _option_of(option: object) -> object:
    """Return the value of a listed option; of `[name, {controls}]` the name."""
    named = isinstance(option, (list, tuple)) and len(option) > 1 and isinstance(option[0], str)
    return option[0] if named else option  # type: ignore[index]  # a list


def write_field(one: Field) -> list[Any]:
    """Return ComfyUI's description of a field: `["FLOAT", {"default": 8.0, ...}]`, `[["euler", ...], {...}]`."""
    known = {
        "default": one.default,
        "min": one.min,
        "max": one.max,
        "step": one.step,
        "round": one.round,
        "multiline": one.multiline or None,
        "tooltip": one.tooltip,
        "label_on": one.label_on,
        "label_off": one.label_off,
    }
    info = {name: value for name, value in known.items() if value is not None} | dict(one.extra)
    kind: Any = one.type.value
    if one.type is FieldType.CHOICE or (one.type is FieldType.IMAGEUPLOAD and one.options):
        kind = "COMBO" if one.takes_any_option else list(one.options)
    if one.type is FieldType.IMAGEUPLOAD and one.options:
        info["image_upload"] = True
    return [kind, info]


def read_described(field_id: str, described: Any) -> Field:
    """Return a field from the form of `write_described`."""
    if not isinstance(described, dict):
        return read_field(field_id, described)
    title, class_type = (None if described.get(key) is None else str(described[key]) for key in ("title", "class"))
    return read_field(field_id, described.get("info"), node_title=title, class_type=class_type)


def write_described(one: Field) -> Any:
    """Return ComfyUI's form of a field; in a mapping with the node's title and class if they are known."""
    described = {"info": write_field(one), "title": one.node_title, "class": one.class_type}
    known = {key: value for key, value in described.items() if value is not None}
    return known if len(known) > 1 else known["info"]

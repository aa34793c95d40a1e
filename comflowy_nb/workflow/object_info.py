"""Convert ComfyUI's description of an input, such as `["FLOAT", {"default": 8.0}]`, to a Field and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.fields import Field, FieldType, split_id
from comflowy_nb.workflow.syntax.json_values import is_finite, shown

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_field(field_id: str, spec: object, *, node_title: str | None = None, class_type: str | None = None) -> Field:
    """Make a field from ComfyUI's description of an input.

    Parameters
    ----------
    field_id
        `NodeId::name`.
    spec
        `["INT", {...}]`, `["STRING"]`, `[["euler", "heun"], {...}]`, `["COMBO", {"options": [...]}]`,
        `["IMAGEUPLOAD", ...]`, or a choice with `{"image_upload": true}`. The field has the type UNKNOWN for any other
        type, such as `MODEL`, and if the options are not a list. Of an option `[name, {...}]` only the name is used.
        Invalid ranges and steps are kept in `extra`.
    node_title, class_type
        Title and class of the node, for errors and displays.

    Raises
    ------
    FieldError
        If the id or the description is invalid.
    """
    split_id(field_id)
    if isinstance(spec, str):  # a hidden input has only a type
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
        **_pop_default_and_range(info),
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
    """Return the type and the options of a description. Remove the options from `info`."""
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
    options = map(_option_of, listed or ())
    return FieldType.CHOICE, tuple(item for item in options if not isinstance(item, float) or math.isfinite(item))


def _pop_default_and_range(info: dict[str, Any]) -> dict[str, Any]:
    """Remove default, range and step from `info`, and return them. Invalid values become None and stay in `info`."""
    values = {name: info.get(name) for name in ("default", "min", "max", "step")}
    if isinstance(values["default"], float) and not math.isfinite(values["default"]):
        values["default"] = None
    for name in ("min", "max", "step"):
        values[name] = values[name] if is_finite(values[name]) else None
    if values["min"] is not None and values["max"] is not None and values["min"] > values["max"]:
        values["min"] = values["max"] = None
    if values["step"] is not None and values["step"] <= 0:
        values["step"] = None
    for name, value in values.items():
        if value is not None or info.get(name) is None:
            info.pop(name, None)
    return values


def _option_of(option: object) -> object:
    """Return the value of a listed option; for `[name, {controls}]`, the name."""
    is_labelled = isinstance(option, (list, tuple)) and len(option) > 1 and isinstance(option[0], str)
    return option[0] if is_labelled else option  # type: ignore[index]  # a list


def write_field(field: Field) -> list[Any]:
    """Return ComfyUI's description of a field: `["FLOAT", {"default": 8.0, ...}]`, `[["euler", ...], {...}]`."""
    known = {
        "default": field.default,
        "min": field.min,
        "max": field.max,
        "step": field.step,
        "round": field.round,
        "multiline": field.multiline or None,
        "tooltip": field.tooltip,
        "label_on": field.label_on,
        "label_off": field.label_off,
    }
    info = {name: value for name, value in known.items() if value is not None} | dict(field.extra)
    kind: Any = field.type.value
    if field.type is FieldType.CHOICE or (field.type is FieldType.IMAGEUPLOAD and field.options):
        kind = "COMBO" if field.takes_any_option else list(field.options)
    if field.type is FieldType.IMAGEUPLOAD and field.options:
        info["image_upload"] = True
    return [kind, info]


def read_described(field_id: str, described: Any) -> Field:
    """Make a field from the result of `write_described`."""
    if not isinstance(described, dict):
        return read_field(field_id, described)
    title, class_type = (None if described.get(key) is None else str(described[key]) for key in ("title", "class"))
    return read_field(field_id, described.get("info"), node_title=title, class_type=class_type)


def write_described(field: Field) -> Any:
    """Return ComfyUI's description of a field, in a mapping with title and class of the node if they are known."""
    described = {"info": write_field(field), "title": field.node_title, "class": field.class_type}
    known = {key: value for key, value in described.items() if value is not None}
    return known if len(known) > 1 else known["info"]

"""Axes as JSON: enough to lay a grid out again, headers and all, when the process that drew it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import PictureError
from comflowy_nb.workflow.axis_types import Axes, Axis, AxisValue, SeedWish
from comflowy_nb.workflow.pictures import PictureInput

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["axes_from_json", "axes_to_json"]

_PICTURE = "picture"


def axes_to_json(axes: Axes) -> dict[str, Any]:
    """The axes as JSON values; a picture is its name and the sha256 of its content."""
    return {
        "fixed": _params_to_json(axes.fixed),
        "axes": [
            {
                "name": axis.name,
                "kind": axis.kind,
                "fields": list(axis.fields),
                "values": [_value_to_json(value) for value in axis.values],
            }
            for axis in axes.axes
        ],
        "seeds": [{"fields": list(wish.fields), "word": wish.word} for wish in axes.seeds],
        "set_params": list(axes.set_params),
        "texts": dict(axes.texts),
    }


def axes_from_json(data: Mapping[str, Any]) -> Axes:
    """The axes that `axes_to_json` wrote.

    Their pictures know their name and sha256; their content can't be loaded.
    """
    return Axes(
        _params_from_json(data["fixed"]),
        tuple(
            Axis(one["name"], one["kind"], tuple(one["fields"]), tuple(map(_value_from_json, one["values"])))
            for one in data["axes"]
        ),
        tuple(SeedWish(tuple(one["fields"]), one["word"]) for one in data["seeds"]),
        tuple(data["set_params"]),
        dict(data["texts"]),
    )


def _value_to_json(value: AxisValue) -> dict[str, Any]:
    found: dict[str, Any] = {"params": _params_to_json(value.params), "label": value.label}
    if value.is_named:
        found["is_named"] = True
    if value.word is not None:
        found["word"] = value.word
    return found


def _value_from_json(data: Mapping[str, Any]) -> AxisValue:
    return AxisValue(
        _params_from_json(data["params"]), data["label"], data.get("is_named", False), word=data.get("word")
    )


def _params_to_json(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _to_json(value) for name, value in params.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, PictureInput):
        return {_PICTURE: {"name": value.name, "sha256": value.content_sha256}}
    return value


def _params_from_json(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _from_json(value) for name, value in params.items()}


def _from_json(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {_PICTURE} and isinstance(value[_PICTURE], Mapping):
        inner = value[_PICTURE]
        if set(inner) == {"name", "sha256"}:
            return PictureInput(inner["name"], inner["sha256"], _gone(inner["name"]))
    return value


def _gone(name: str) -> Callable[[], bytes]:
    def load() -> bytes:
        raise PictureError(f"the content of {name} is not kept: give the picture again")

    return load

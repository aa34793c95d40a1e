"""Axes as JSON: enough to lay a grid out again, headers and all, when the process that drew it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue, SeedWord
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["axes_from_json", "axes_to_json", "params_from_json", "params_to_json"]

_IMAGE = "image"


def axes_to_json(axes: Axes) -> dict[str, Any]:
    """The axes as JSON values; an image is its name and the sha256 of its content."""
    return {
        "fixed": params_to_json(axes.fixed),
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


def axes_from_json(data: Mapping[str, Any], kept: Callable[[str], bytes | None] | None = None) -> Axes:
    """The axes that `axes_to_json` wrote.

    Parameters
    ----------
    kept
        Gives the content of an image by its sha256, where that was kept.
    """
    return Axes(
        params_from_json(data["fixed"], kept),
        tuple(
            Axis(
                one["name"],
                one["kind"],
                tuple(one["fields"]),
                tuple(_value_from_json(value, kept) for value in one["values"]),
            )
            for one in data["axes"]
        ),
        tuple(SeedWord(tuple(one["fields"]), one["word"]) for one in data["seeds"]),
        tuple(data["set_params"]),
        dict(data["texts"]),
    )


def _value_to_json(value: AxisValue) -> dict[str, Any]:
    found: dict[str, Any] = {"params": params_to_json(value.params), "label": value.label}
    if value.is_named:
        found["is_named"] = True
    if value.word is not None:
        found["word"] = value.word
    return found


def _value_from_json(data: Mapping[str, Any], kept: Callable[[str], bytes | None] | None) -> AxisValue:
    return AxisValue(
        params_from_json(data["params"], kept), data["label"], data.get("is_named", False), word=data.get("word")
    )


def params_to_json(params: Mapping[str, Any]) -> dict[str, Any]:
    """Params as JSON values; an image is its name and the sha256 of its content."""
    return {name: _to_json(value) for name, value in params.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, InputImage):
        return {_IMAGE: {"name": value.name, "sha256": value.content_sha256}}
    return value


def params_from_json(params: Mapping[str, Any], kept: Callable[[str], bytes | None] | None) -> dict[str, Any]:
    """The params of which `params_to_json` made JSON values; `kept` as for `axes_from_json`."""
    return {name: _from_json(value, kept) for name, value in params.items()}


def _from_json(value: Any, kept: Callable[[str], bytes | None] | None) -> Any:
    if isinstance(value, Mapping) and set(value) == {_IMAGE} and isinstance(value[_IMAGE], Mapping):
        inner = value[_IMAGE]
        if set(inner) == {"name", "sha256"}:
            return InputImage(inner["name"], inner["sha256"], _loader(inner["name"], inner["sha256"], kept))
    return value


def _loader(name: str, sha256: str, kept: Callable[[str], bytes | None] | None) -> Callable[[], bytes]:
    def load() -> bytes:
        content = None if kept is None else kept(sha256)
        if content is None:
            raise ImageError(f"the content of {name} is not kept: give the image again")
        return content

    return load

"""Read node inputs and widget values from the format of ComfyUI's editor. Pure.

The editor saves the values of a node by position, in the order of the inputs of its class. Some positions belong to
controls that are not inputs, such as the control that changes a seed after each run.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.workflow.syntax.json_values import WRAPPED

if TYPE_CHECKING:
    from collections.abc import Sequence


_DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"  # a choice whose options have inputs
_WIDGET_TYPES = frozenset(
    {
        *("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", _DYNAMIC_COMBO),
        *("TEXTAREA", "MARKDOWN", "COLOR", "COLORS", "CURVE", "RANGE", "PAINTER", "GALLERIA", "CHART"),
        *("PREVIEW_3D", "LOAD_3D", "WEBCAM"),
    }
)
_SEED_NAMES = frozenset({"seed", "noise_seed"})  # have the control even if the description does not mention it
# The editor's defaults, for a class without a default.
_DEFAULTS = {"INT": 0, "FLOAT": 0, "BOOLEAN": False, "STRING": ""}

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n\r]*", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}|])")
_UNESCAPED_BRACE = re.compile(r"(?<!\\)\{")

_Spec = tuple[str, str, Mapping[str, Any]]  # name, type and options of an input


@dataclass(frozen=True, slots=True)
class Slot:
    """An input of a node.

    Attributes
    ----------
    type
        The type of links that the input accepts; `COMBO` for a choice.
    is_widget
        Whether the editor shows a control for the input.
    value
        The saved value of the control, or the default; None if there is neither.
    is_prompt
        Whether the editor removes comments from the text, and chooses one of `{a|b}` at each run.
    """

    name: str
    type: str
    is_widget: bool = False
    value: Any = None
    is_prompt: bool = False


def class_inputs(description: Mapping[str, Any], saved: object) -> list[Slot]:
    """Return the inputs of a node in the editor's order: inputs without a control come first.

    Parameters
    ----------
    description
        The entry of the node's class in `/object_info`.
    saved
        `widgets_values` of the node: a list, or a mapping from names to values.
    """
    specs = _specs(description.get("input"), description.get("input_order"))
    values = _SavedValues(saved, specs)
    sockets: list[Slot] = []
    widgets: list[Slot] = []
    waiting = deque(specs)
    while waiting:
        name, type_, options = waiting.popleft()
        if not _is_widget(type_, options):
            sockets.append(Slot(name, type_))
            continue
        value = values.take(name, type_, options)
        if type_ == _DYNAMIC_COMBO:
            waiting.extendleft(reversed(_specs_of_option(name, options, value)))
        is_prompt = options.get("dynamicPrompts") is True
        widgets.append(Slot(name, type_, is_widget=True, value=value, is_prompt=is_prompt))
    return sockets + widgets


def class_outputs(description: Mapping[str, Any]) -> list[str]:
    """Return the types of the outputs of a class."""
    listed = description.get("output")
    return [type_ if isinstance(type_, str) else "COMBO" for type_ in listed] if isinstance(listed, list) else []


def prompt_value(value: object) -> object:
    """Return a value in the form of the API. A list is wrapped, because the API reads a plain list as a link."""
    return {WRAPPED: value} if isinstance(value, list) else value


def without_comments(text: str) -> tuple[str, bool]:
    """Return a prompt without comments, and whether it contains choices such as `{a|b}`, which are kept."""
    text = _COMMENT.sub("", text)
    has_choices = _UNESCAPED_BRACE.search(text) is not None
    return (text if has_choices else _ESCAPED.sub(r"\1", text)), has_choices


# -- descriptions --------------------------------------------------------------------------------------------------


def _specs(inputs: object, order: object) -> list[_Spec]:
    """Return the inputs of a description, required ones first. Inputs that are not in `order` come last."""
    specs: list[_Spec] = []
    for group in ("required", "optional"):
        listed = inputs.get(group) if isinstance(inputs, Mapping) else None
        if not isinstance(listed, Mapping):
            continue
        first = order.get(group) if isinstance(order, Mapping) else None
        ordered = [name for name in first if isinstance(name, str)] if isinstance(first, list) else []
        specs += [_spec(name, listed[name]) for name in dict.fromkeys([*ordered, *listed]) if name in listed]
    return specs


def _spec(name: str, spec: object) -> _Spec:
    kind, options = ((*spec, {}, {})[:2]) if isinstance(spec, (list, tuple)) else (spec, {})
    options = options if isinstance(options, Mapping) else {}
    if isinstance(kind, (list, tuple)):
        return name, "COMBO", {**options, "options": kind}
    return name, kind if isinstance(kind, str) else "*", options


def _specs_of_option(name: str, options: Mapping[str, Any], chosen: object) -> list[_Spec]:
    """Return the inputs of the chosen option of a dynamic combo, such as `format.quality` of `format`."""
    for option in _listed(options):
        if isinstance(option, Mapping) and option.get("key") == chosen:
            return [(f"{name}.{inner}", *rest) for inner, *rest in _specs(option.get("inputs"), None)]  # type: ignore[misc]
    return []


def _listed(options: Mapping[str, Any]) -> Sequence[Any]:
    listed = options.get("options")
    return listed if isinstance(listed, (list, tuple)) else ()


def _is_widget(type_: str, options: Mapping[str, Any]) -> bool:
    is_known = type_ in _WIDGET_TYPES or options.get("widgetType") in ("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO")
    return is_known and not options.get("forceInput")


def _default(type_: str, options: Mapping[str, Any]) -> Any:
    if options.get("default") is not None:
        return options["default"]
    if type_ in {"COMBO", _DYNAMIC_COMBO}:
        first = next(iter(_listed(options)), None)
        return first.get("key") if isinstance(first, Mapping) else first
    return _DEFAULTS.get(type_)


# -- saved values --------------------------------------------------------------------------------------------------


class _SavedValues:
    """Reads `widgets_values` of a node, value by value, in the order of the widgets."""

    def __init__(self, saved: object, specs: Sequence[_Spec]) -> None:
        self._named = saved if isinstance(saved, Mapping) else None
        self._waiting: deque[Any] = deque(saved if isinstance(saved, list) else ())
        # Older editors saved values also of inputs that take only links.
        is_forced: list[bool] = []
        for _name, type_, options in specs:
            if _is_widget(type_, options) or options.get("forceInput"):
                is_forced.append(bool(options.get("forceInput")))
                is_forced += [False] * (1 if options.get("control_after_generate") else 0)
        if any(is_forced) and len(is_forced) == len(self._waiting):
            self._waiting = deque(value for value, forced in zip(self._waiting, is_forced, strict=True) if not forced)

    def take(self, name: str, type_: str, options: Mapping[str, Any]) -> Any:
        """Return the value of the next widget, or its default, and skip the values of its additional controls."""
        if self._named is not None:
            return self._named.get(name, _default(type_, options))
        value = self._waiting.popleft() if self._waiting else _default(type_, options)
        for _ in range(min(_controls_after(name, type_, options), len(self._waiting))):
            self._waiting.popleft()
        return value


def _controls_after(name: str, type_: str, options: Mapping[str, Any]) -> int:
    """Return the number of additional controls after a widget for which the editor saves values."""
    mentioned, remote = options.get("control_after_generate"), options.get("remote")
    if isinstance(remote, Mapping):
        return 2 if remote.get("refresh_button") else 1  # whether the options are updated after each run, and a button
    if type_ == "COMBO":
        return 2 if mentioned else 0  # how the value changes after each run, and a filter of the options
    is_seed = type_ == "INT" and name in _SEED_NAMES if mentioned is None else bool(mentioned)
    return 1 if type_ in {"INT", "FLOAT"} and is_seed else 0

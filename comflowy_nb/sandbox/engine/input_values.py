"""Values as they stand in a graph, read in the type of their input; errors in ComfyUI's shape."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

Body: TypeAlias = "dict[str, Any]"

MAX_TEXT: Final = 100_000  # characters of one text
_SHOWN: Final = 200  # characters of a received value that an error shows
_LITERALS: Final = {"INT", "FLOAT", "STRING", "BOOLEAN"}


def read_literal(name: str, config: list[Any], value: Any) -> tuple[Any, Body | None]:
    """The value in the type of its input, or unchanged with the error that says why not."""
    kind = config[0]
    try:
        if isinstance(kind, list):
            return value, None
        if kind not in _LITERALS:
            raise ValueError(f"an input of type {kind} takes a link to another node")  # noqa: TRY301  # one way out
        return _convert(kind, value), None
    except (ValueError, TypeError, OverflowError) as error:
        message = f"Failed to convert an input value to a {type_name(config)} value"
        return value, make_error(
            "invalid_input_type",
            message,
            f"{name}, {short(value)}, {error}",
            input_name=name,
            input_config=config,
            received_value=short(value),
            exception_message=str(error),
        )


def _convert(kind: str, value: Any) -> Any:
    if value is None or isinstance(value, (list, dict)):
        raise TypeError(f"not {'an' if kind == 'INT' else 'a'} {kind}")
    if kind == "STRING":
        text = str(value)
        if len(text) > MAX_TEXT:
            raise ValueError(f"a text of {len(text)} characters; the sandbox takes up to {MAX_TEXT}")
        return text
    if kind == "BOOLEAN":
        if not isinstance(value, bool):
            raise TypeError("not true or false")
        return value
    return _convert_number(kind, value)


def _convert_number(kind: str, value: Any) -> int | float:
    if isinstance(value, bool):
        raise TypeError("true and false are no numbers")
    if isinstance(value, str) and len(value) > 400:
        raise ValueError("too long for a number")
    if kind == "INT":
        if isinstance(value, float) and value != int(value):
            raise ValueError("not a whole number")
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def check_range(name: str, config: list[Any], value: Any) -> Body | None:
    facts = {"input_name": name, "input_config": config, "received_value": value}
    if isinstance(config[0], list):
        options = config[0]
        is_upload = len(config) > 1 and config[1].get("image_upload")
        if (isinstance(value, str) and value in options) or (is_upload and isinstance(value, str)):
            return None
        shown = f"{short(value)!r}" if isinstance(value, str) else short(value)
        facts["received_value"] = short(value)
        return make_error("value_not_in_list", "Value not in list", f"{name}: {shown} not in {options}", **facts)
    limits = config[1] if len(config) > 1 else {}
    if "min" in limits and value < limits["min"]:
        message = f"Value {short(value)} smaller than min of {limits['min']}"
        return make_error("value_smaller_than_min", message, name, **{**facts, "received_value": _bounded(value)})
    if "max" in limits and value > limits["max"]:
        message = f"Value {short(value)} bigger than max of {limits['max']}"
        return make_error("value_bigger_than_max", message, name, **{**facts, "received_value": _bounded(value)})
    return None


def make_error(kind: str, message: str, details: str, **extra_info: Any) -> Body:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def type_name(config: list[Any]) -> str:
    return config[0] if isinstance(config[0], str) else "COMBO"


def short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**_SHOWN:
        return "a number of more than 200 digits"
    text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _bounded(value: Any) -> Any:
    return value if abs(value) < 10**_SHOWN else short(value)

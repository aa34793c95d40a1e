"""Convert settings to params: expand, type and check every setting, and generate the seeds of one run.

All problems are reported together, before anything is submitted.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from comflowy_nb.errors import FieldError, ImageError, LineError, RefError
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.images import is_image
from comflowy_nb.workflow.syntax.body import read_block
from comflowy_nb.workflow.syntax.json_values import plain, rounded, shown
from comflowy_nb.workflow.syntax.line import expand, is_name
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, Setting
from comflowy_nb.workflow.value_reader import ValueReader, several_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.syntax.lists import Written
    from comflowy_nb.workflow.workflow import Workflow

__all__ = [
    "MAX_GENERATED_SEED",
    "Resolved",
    "SettingLog",
    "generate_seed",
    "is_settings",
    "narrowest_field",
    "resolve",
    "seed_range",
    "settings_from_mapping",
]

MAX_GENERATED_SEED = 2**53 - 1  # the largest integer that JavaScript, and so the editor, represents exactly


@dataclass(frozen=True, slots=True)
class Resolved:
    """The params of one run.

    Attributes
    ----------
    params
        Field id -> value.
    set_params
        The field ids in the order they were set.
    generated_seeds
        Field id -> seed generated for `random`.
    """

    params: dict[str, Any]
    set_params: tuple[str, ...] = ()
    generated_seeds: dict[str, int] = field(default_factory=dict)


def seed_range(one: Field | None) -> tuple[int, int]:
    """Return the range of generated seeds: from 0, at most `MAX_GENERATED_SEED`, and within the range of the field."""
    low = max(0, int(one.min)) if one is not None and one.min is not None else 0
    high = min(MAX_GENERATED_SEED, int(one.max)) if one is not None and one.max is not None else MAX_GENERATED_SEED
    return low, max(low, high)


def generate_seed(one: Field | None) -> int:
    """Return a random seed for a field."""
    low, high = seed_range(one)
    return low + secrets.randbelow(high - low + 1)


def narrowest_field(workflow: Workflow, field_ids: Sequence[str]) -> Field | None:
    """Return the field with the smallest maximum, whose seeds fit all of them; None if none is described."""
    fields = [workflow.fields[one] for one in field_ids if one in workflow.fields]
    return min(fields, key=lambda one: MAX_GENERATED_SEED if one.max is None else one.max, default=None)


def settings_from_mapping(params: Mapping[str, object]) -> list[Setting]:
    """Return the params of a Python call as settings.

    Raises
    ------
    FieldError
        If a key is not text.
    """
    for key in params:
        if not isinstance(key, str):
            raise FieldError(f'the name of a field is text, not {shown(key)}: use {{"3::cfg": 7}} or {{"cfg": 7}}')
    return [Setting(key, value, typed=True, computed=True) for key, value in params.items()]


def is_settings(value: object) -> TypeGuard[Any]:
    """Return whether a Python object is a mapping, or a list or tuple of settings."""
    if isinstance(value, list | tuple):
        return all(isinstance(setting, Setting) for setting in value)
    return isinstance(value, Mapping)


def resolve(
    workflow: Workflow,
    settings: Sequence[Setting],
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
) -> Resolved:
    """Return the params of one run.

    Parameters
    ----------
    workflow
        Defines the fields that the keys name, and their types.
    settings
        In the order they were typed.
    namespace
        The variables that `{name}` may refer to; None disables expansion.
    open_run
        Return the image of a reference (`r41[0]`) or raise RefError; None if references are not available.

    Returns
    -------
    The params, their order, and the generated seeds (one seed for all fields of `all::seed`).

    Raises
    ------
    FieldError
        With all problems: unknown fields, invalid values, fields set twice, undefined names, unreadable images, and
        lists of values.
    """
    log = SettingLog(workflow)
    reader = ValueReader(namespace, open_run)
    params: dict[str, Any] = {}
    seeds: dict[str, int] = {}
    for setting in settings:
        try:
            field_ids = workflow.find(setting.key)
        except FieldError as error:
            log.report(setting, error)
            continue
        for one in (log.field(field_id) for field_id in field_ids if log.reserve(field_id, setting)):
            try:
                written = _one_value(setting, one, namespace)
                word = reader.seed_word(one, written) if isinstance(written, Item) else None
                if word is None:
                    params[one.id] = reader.value(one, written)
                else:
                    shared = next((seeds[other] for other in field_ids if other in seeds), None)
                    params[one.id] = seeds[one.id] = (
                        _generate(workflow, one, word, field_ids) if shared is None else shared
                    )
            except (FieldError, LineError, ImageError, RefError) as error:
                log.report(setting, error, one.id)
    if log.problems:
        raise FieldError(*dict.fromkeys(log.problems))
    return Resolved(params, tuple(params), seeds)


def _one_value(setting: Setting, one: Field, namespace: Mapping[str, Any] | None) -> Written:
    """Return the value of a setting of a run, with the object that a `{name}` refers to.

    Raises
    ------
    FieldError
        If it is a list of values, and the field takes one.
    LineError
        If the name is not defined.
    """
    value, quoted, name = setting.value, setting.quoted, ""
    if setting.plain is not None and one.type is not FieldType.STRING:
        value, quoted = setting.plain
        if setting.is_list and not one.is_multiple:
            raise several_values(one, "a list of values")
    if isinstance(value, str):
        if namespace is None or not is_name(value):
            block = read_block(setting.block or (), is_text=False) if one.is_multiple and setting.is_list else None
            typed = setting.typed and not one.is_multiple  # a typed text may be a selection, too
            return block if isinstance(block, MultipleValues) else Item(value, quoted, typed)
        name, value = value, rounded(expand(value, namespace))
    elif setting.computed and not one.holds(plain(value)):
        value = rounded(value)
    value = plain(value)
    is_list = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    may_be_list = one.is_multiple or one.holds(value) or (one.type.takes_images and is_image(value))
    if is_list and not may_be_list and (name or one.type is not FieldType.UNKNOWN):
        problem = f"{name} is a {type(value).__name__}" if name else f"{shown(value)} is several values"
        raise several_values(one, problem)
    return Item(value, typed=True, exact=True)


def _generate(workflow: Workflow, one: Field, word: str, field_ids: tuple[str, ...]) -> int:
    if word != "random":
        tip = "run --count N, or seed=random#N in a sweep" if word != "each" else "%comflowy sweep takes several"
        raise FieldError(f"{one.where}: {word} generates several seeds, but a run takes one; {tip}")
    return generate_seed(narrowest_field(workflow, field_ids))


class SettingLog:
    """Record of which setting set each field, and of all problems found."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._setting_of: dict[str, Setting] = {}
        self.problems: list[str] = []

    def field(self, field_id: str) -> Field:
        """Return the field of an id, of unknown type if it is not described."""
        return self._workflow.fields.get(field_id) or Field(field_id)

    def reserve(self, field_id: str, setting: Setting) -> bool:
        """Return True if this setting is the first for the field; report a second one."""
        if field_id in self._setting_of:
            self._report_twice(field_id, self._setting_of[field_id], setting)
            return False
        self._setting_of[field_id] = setting
        return True

    def report(self, setting: Setting, error: Exception, field_id: str | None = None) -> None:
        """Add a problem, with the field and the line of the setting."""
        text, *more = error.problems if isinstance(error, FieldError) else (str(error),)
        if field_id is not None and not isinstance(error, FieldError):
            text = f"{self.field(field_id).where}: {text}"
        self.problems += [f"{setting.where}: {text}" if "line " in setting.where else text, *more]

    def _report_twice(self, field_id: str, first: Setting, setting: Setting) -> None:
        where = self.field(field_id).where
        if first.where == setting.where == "the line":
            keys = "" if first.key == setting.key else f", as {first.key} and as {setting.key}"
            name = first.key if first.key == setting.key else where
            self.problems.append(f"{name} is set twice on this line{keys}. Keep one.")
            return
        both = [f"{one.key} ({one.where})" if one.where else one.key for one in (first, setting)]
        self.problems.append(f"{where} is set twice: {' and '.join(both)}. Keep one.")

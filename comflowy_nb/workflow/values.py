"""Convert the settings of one run to params: expand, parse and check every setting, and generate seeds.

All problems are reported together, before anything is submitted.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from comflowy_nb.errors import FieldError, ImageError, LineError, RefError, typed
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.images import is_image
from comflowy_nb.workflow.syntax.body import read_block
from comflowy_nb.workflow.syntax.json_values import plain, round_computed, shown
from comflowy_nb.workflow.syntax.line import expand, is_name
from comflowy_nb.workflow.syntax.lists import Item, MultipleValues, Setting
from comflowy_nb.workflow.value_reader import ValueReader, several_values_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.syntax.lists import ParsedValue
    from comflowy_nb.workflow.workflow import Workflow


MAX_GENERATED_SEED = 2**53 - 1  # the largest integer that JavaScript, and so the editor, represents exactly


@dataclasses.dataclass(frozen=True, slots=True)
class ResolvedParams:
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
    generated_seeds: dict[str, int] = dataclasses.field(default_factory=dict)


def seed_range(field: Field | None) -> tuple[int, int]:
    """Return the range of generated seeds: from 0 to `MAX_GENERATED_SEED`, limited to the range of the field."""
    low = 0 if field is None or field.min is None else max(0, int(field.min))
    high = MAX_GENERATED_SEED if field is None or field.max is None else min(MAX_GENERATED_SEED, int(field.max))
    return low, max(low, high)


def generate_seed(field: Field | None) -> int:
    """Return a random seed for a field."""
    low, high = seed_range(field)
    return low + secrets.randbelow(high - low + 1)


def narrowest_field(workflow: Workflow, field_ids: Sequence[str]) -> Field | None:
    """Return the field with the smallest maximum, whose seeds are valid for all. None if no field is described."""
    fields = [workflow.fields[field_id] for field_id in field_ids if field_id in workflow.fields]
    return min(fields, key=lambda field: MAX_GENERATED_SEED if field.max is None else field.max, default=None)


def settings_from_mapping(params: Mapping[str, object]) -> list[Setting]:
    """Convert the params of a Python call to settings.

    Raises
    ------
    FieldError
        If a key is not text.
    """
    for key in params:
        if not isinstance(key, str):
            raise FieldError(f'the name of a field is text, not {shown(key)}: use {{"3::cfg": 7}} or {{"cfg": 7}}')
    return [Setting(key, value, is_python_value=True, computed=True) for key, value in params.items()]


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
) -> ResolvedParams:
    """Convert the settings of one run to params.

    Parameters
    ----------
    workflow
        The workflow, which defines the fields and their types.
    settings
        The settings in the order typed.
    namespace
        The variables for `{name}`; None disables expansion.
    open_run
        Called with a reference (`r41[0]`); returns its image or raises RefError. None if references are not available.

    Returns
    -------
    The params, the order in which they were set, and the generated seeds. All fields of `all::seed` share one seed.

    Raises
    ------
    FieldError
        If there are unknown fields, invalid values, fields that are set twice, undefined names, unreadable images, or
        lists of values. It contains all problems.
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
        for field in (workflow.field(field_id) for field_id in field_ids if log.reserve(field_id, setting)):
            try:
                value = _one_value(setting, field, namespace)
                seed_word = reader.seed_word(field, value) if isinstance(value, Item) else None
                if seed_word is None:
                    params[field.id] = reader.value(field, value)
                else:
                    seed = next((seeds[other] for other in field_ids if other in seeds), None)  # of all::seed
                    if seed is None:
                        seed = _generate(workflow, field, seed_word, field_ids)
                    params[field.id] = seeds[field.id] = seed
            except (FieldError, LineError, ImageError, RefError) as error:
                log.report(setting, error, field.id)
    log.raise_problems()
    return ResolvedParams(params, tuple(params), seeds)


def _one_value(setting: Setting, field: Field, namespace: Mapping[str, Any] | None) -> ParsedValue:
    """Return the value of a setting, with `{name}` replaced by its Python object.

    Raises
    ------
    FieldError
        If the value is a list of values, and the field takes one value.
    LineError
        If the name is not defined.
    """
    value, quoted, name = setting.value, setting.quoted, ""
    if setting.plain is not None and field.type is not FieldType.STRING:  # brackets and quotes are syntax, not text
        value, quoted = setting.plain
        if setting.is_list and not field.is_multiple:
            raise several_values_error(field, "a list of values")
    if isinstance(value, str):
        if namespace is None or not is_name(value):
            block = read_block(setting.block or (), is_text=False) if field.is_multiple and setting.is_list else None
            # A JSON or Python string may also be a list of options.
            is_python_value = setting.is_python_value and not field.is_multiple
            return block if isinstance(block, MultipleValues) else Item(value, quoted, is_python_value)
        name, value = value, round_computed(expand(value, namespace))
    elif setting.computed and not field.holds(plain(value)):
        value = round_computed(value)
    value = plain(value)
    is_list = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    may_be_list = field.is_multiple or field.holds(value) or (field.type.takes_images and is_image(value))
    if is_list and not may_be_list and (name or field.type is not FieldType.UNKNOWN):
        problem = f"{name} is a {type(value).__name__}" if name else f"{shown(value)} is several values"
        raise several_values_error(field, problem)
    return Item(value, is_python_value=True, exact=True)


def _generate(workflow: Workflow, field: Field, seed_word: str, field_ids: tuple[str, ...]) -> int:
    """Generate a seed for `random`. Reject `each` and `random#N`."""
    if seed_word != "random":
        tip = f"{typed('%comflowy sweep', 'client.sweep')} takes several"
        if seed_word != "each":
            count = seed_word.partition("#")[2]
            tip = typed(
                f"use --count {count}, or {field.name}={seed_word} in a sweep", f"client.sweep takes {seed_word!r}"
            )
        raise FieldError(f"{field.where}: {seed_word} generates several seeds, but a run takes one; {tip}")
    return generate_seed(narrowest_field(workflow, field_ids))


class SettingLog:
    """Record which setting set each field, all problems, and the tips that apply to several problems."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._setting_of: dict[str, Setting] = {}
        self.problems: list[str] = []
        self.tips: list[str] = []

    def reserve(self, field_id: str, setting: Setting) -> bool:
        """Register the first setting of a field. For a second one, report a problem and return False."""
        if field_id in self._setting_of:
            self._report_twice(field_id, self._setting_of[field_id], setting)
            return False
        self._setting_of[field_id] = setting
        return True

    def report(self, setting: Setting, error: Exception, field_id: str | None = None) -> None:
        """Add a problem with the field and the line of the setting."""
        text, *tips = error.problems if isinstance(error, FieldError) else (str(error),)
        if field_id is not None and not isinstance(error, FieldError):
            text = f"{self._workflow.field(field_id).where}: {text}"
        self.problems += [f"{setting.where}: {text}" if "line " in setting.where else text]
        self.tips += tips

    def raise_problems(self) -> None:
        """Raise a FieldError with each problem once, and the tips after them, if there are problems."""
        if self.problems:
            raise FieldError(*dict.fromkeys([*self.problems, *self.tips]))

    def _report_twice(self, field_id: str, first: Setting, setting: Setting) -> None:
        where = self._workflow.field(field_id).where
        if first.where == setting.where == "the line":
            keys = "" if first.key == setting.key else f", as {first.key} and as {setting.key}"
            name = first.key if first.key == setting.key else where
            self.problems.append(f"{name} is set twice on this line{keys}. Keep one.")
            return
        both = [f"{setting.key} ({setting.where})" if setting.where else setting.key for setting in (first, setting)]
        self.problems.append(f"{where} is set twice: {' and '.join(both)}. Keep one.")

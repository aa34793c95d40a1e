"""Each name in `__all__` exists, and the public names are complete."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import comflowy_nb

NAMES = sorted(module.name for module in pkgutil.walk_packages(comflowy_nb.__path__, "comflowy_nb."))


def test_exported_names_exist():
    for name in NAMES:
        module = importlib.import_module(name)
        exported = getattr(module, "__all__", ())
        assert len(set(exported)) == len(exported), f"{name}.__all__ has a name twice"
        missing = [exported_name for exported_name in exported if not hasattr(module, exported_name)]
        assert not missing, f"{name}.__all__ names {missing}, which do not exist"


def test_public_names_are_those_of_all():
    exported = set(comflowy_nb.__all__)
    for name in exported:
        assert getattr(comflowy_nb, name) is not None
    assert exported <= set(dir(comflowy_nb))


def test_public_names_include_those_in_the_readme():
    assert {"connect", "history", "Run", "Client", "ComflowyError"} <= set(comflowy_nb.__all__)


def test_no_public_name_is_that_of_a_submodule():
    """A public name equal to that of a submodule becomes the module once the submodule is imported.

    `history` is that module.
    """
    modules = {name.removeprefix("comflowy_nb.") for name in NAMES}
    assert modules & set(comflowy_nb.__all__) == {"history"}
    assert comflowy_nb.history is importlib.import_module("comflowy_nb.history")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        comflowy_nb.nonsense  # noqa: B018 - the look-up is the test


def test_every_error_is_a_comflowy_error():
    from comflowy_nb import errors

    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.ComflowyError)
        assert name in errors.__doc__, f"{name} is missing from the tree in errors.py"

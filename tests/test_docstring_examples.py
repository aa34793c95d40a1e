"""The examples in the docstrings of the public API run on the sandbox and print what they show."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module

import pytest
from check_docstrings import public_names

import comflowy_nb

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def documented(name):
    """Return the module of a dotted name, and its object; for a property, the property."""
    path, attributes = name, []
    while True:
        try:
            module = value = import_module(path)
            break
        except ImportError:
            path, _, attribute = path.rpartition(".")
            attributes.insert(0, attribute)
    for attribute in attributes:
        value = inspect.getattr_static(value, attribute)
    return module, value


def examples():
    """Yield the doctest of each public docstring with an example, in the namespace of its module."""
    parser, seen = doctest.DocTestParser(), set()
    for name in sorted(set(public_names())):
        module, value = documented(name)
        text = inspect.getdoc(value) or ""
        if ">>>" in text and text not in seen:
            seen.add(text)
            yield parser.get_doctest(text, vars(module), name, None, None)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_docstring_examples_run_and_print_what_they_show(tmp_path, monkeypatch):
    """Each example finds `comflowy_nb`, a `client` of the sandbox, a finished `run` and a finished `sweep`."""
    monkeypatch.chdir(tmp_path)
    failed = []
    with comflowy_nb.connect("sandbox") as client:
        small = {"width": 64, "height": 64, "steps": 1, "seed": 1}
        run = client.run("default", {**small, "cfg": 7}, name="cat")
        sweep = client.sweep("default", {**small, "cfg": [4, 7]}, name="looks")
        for example in examples():
            example.globs.update(comflowy_nb=comflowy_nb, client=client, run=run, sweep=sweep)
            report = []
            doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append)
            failed += [f"{example.name}\n{''.join(report)}"] if report else []
    assert not failed, "\n".join(failed)
    assert sum(1 for _ in examples()) > 20

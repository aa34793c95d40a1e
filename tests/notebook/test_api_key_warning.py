"""A cell that contains a key warns once, before it runs, and never repeats the key."""

from __future__ import annotations

import textwrap

import pytest

URL = "http://127.0.0.1:9"  # nothing listens on the discard port
KEY = "correct horse 7 battery".replace(" ", "-")
FIRST = "This cell contains a key"


def guarded(source):
    """Return a cell that ignores errors: IPython shows the source of the cell in a traceback, with its key."""
    return f"try:\n{textwrap.indent(source, '    ')}\nexcept Exception:\n    pass"


def shown(result):
    text = result.stdout + result.stderr + "".join(str(bundle) for bundle in result.last)
    assert KEY not in text
    return text


@pytest.mark.parametrize(
    "source",
    [
        f"import comflowy_nb\ncomflowy_nb.connect('{URL}', key='{KEY}')",
        f"import comflowy_nb as c\nclient = c.connect(\n    '{URL}', name='a', key='{KEY}')",
        f"from comflowy_nb import connect as go\ngo('{URL}', key='{KEY}')",
        f"import comflowy_nb\nmine = '{KEY}'\ncomflowy_nb.connect('{URL}', key=mine)",
        f"import comflowy_nb as c\nc.connect('{URL}', key=c.settings.Secret('{KEY}'))",
        f"other_name = 'COMFLOWY_API_KEY={KEY}'",
        f"places = {{'COMFLOWY_API_KEY': '{KEY}'}}",
        f"%comflowy login {KEY}",
        f"%comflowy connect cloud --key {KEY}",
        f"%comflowy connect cloud key={KEY}",
        f"%comflowy help\nimport comflowy_nb\ncomflowy_nb.connect('{URL}', key='{KEY}')",
    ],
)
@pytest.mark.parametrize("in_kernel", [False, True])
def test_a_literal_key_warns_once_and_names_the_safe_ways(source, in_kernel, cell, request):
    if in_kernel:
        request.getfixturevalue("handles")
    source = guarded(source)
    text = shown(cell(source))
    assert text.count(FIRST) == (2 if in_kernel else 1)  # as text and as HTML
    for way in ("%comflowy login", "COMFLOWY_API_KEY", "keyring", "revoke"):
        assert way in text
    assert FIRST not in shown(cell(source))


@pytest.mark.parametrize("how", ["import comflowy_nb", "from comflowy_nb import connect"])
def test_names_from_an_earlier_cell_are_known(how, cell):
    cell(how)
    call = "comflowy_nb.connect" if how.startswith("import") else "connect"
    assert FIRST in shown(cell(guarded(f"{call}('{URL}', key='{KEY}')")))


@pytest.mark.parametrize(
    "source",
    [
        f"import comflowy_nb, os\ncomflowy_nb.connect('{URL}', key=os.environ.get('MY_KEY', ''))",
        f"import comflowy_nb\ncomflowy_nb.connect('{URL}', key=open('key.txt').read())",
        f"import comflowy_nb\ncomflowy_nb.connect('{URL}', key='YOUR_API_KEY')",
        f"import comflowy_nb\nmine = input\nkey = '{KEY}'\ncomflowy_nb.connect('{URL}', name='a', key=None)",
        f"import types\ndb = types.SimpleNamespace(connect=lambda **_: 1)\ndb.connect(key='{KEY}')",
        "import os\n'COMFLOWY_API_KEY' in os.environ",
        "%comflowy connect nowhere key",
        "%comflowy login  # asks",
        "%comflowy login",
    ],
)
def test_a_cell_without_a_literal_key_does_not_warn(source, cell):
    assert FIRST not in shown(cell(guarded(source)))


def test_the_cell_that_loads_the_extension_warns_too(shell, cell):
    shell.run_line_magic("unload_ext", "comflowy_nb")
    assert FIRST not in shown(cell(f"a = 'COMFLOWY_API_KEY={KEY}'"))
    assert FIRST in shown(cell(f"%load_ext comflowy_nb\na = 'COMFLOWY_API_KEY={KEY}'"))


def test_a_cell_that_is_not_valid_python_does_not_warn(cell):
    assert FIRST not in shown(cell("comflowy_nb.connect(url, key = ("))


def test_the_error_of_a_login_with_a_key_does_not_repeat_the_key(cell):
    result = cell(f"%comflowy login {KEY}")
    assert KEY not in str(result.error)
    assert "Type %comflowy login alone" in str(result.error)

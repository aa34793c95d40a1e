"""The tables of front ends in the README and in the docs name a test for each claim."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = "docs/reference/front-ends.md"


def rows(page):
    """Return the rows of the table of front ends, without the head: lists of the texts of their columns."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = re.search(r"^\| Front end .*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)[1]
    return [[column.strip() for column in line.strip("|").split("|")] for line in table.splitlines()]


def test_each_row_has_a_test_that_exists_or_is_not_tried():
    for name, *claims, tests in rows(PAGE):
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", tests)
        assert named or tests == "not tried", name
        assert named or all(claim == "not tried" for claim in claims), name
        for path, function in named:
            assert (ROOT / path).is_file(), path
            assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8"), function


def test_the_readme_has_the_same_front_ends_and_claims_no_more():
    full = {name: claims for name, *claims, _ in rows(PAGE)}
    short = {name: claims for names, *claims in rows("README.md") for name in names.split(", ")}
    assert short.keys() == full.keys()
    for name, (runs, widgets) in short.items():
        assert ("tested" in runs) == ("tested" in full[name][0]), name
        assert ("not tried" in runs) == ("not tried" in full[name][0]), name
        if widgets == "tested":
            assert full[name][1:] == ["tested", "tested"], name

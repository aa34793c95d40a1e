"""Words and phrases that the project does not use, in code, docs and notebooks: CONTRIBUTING.md says why."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SEARCHED = [
    "comflowy_nb/**/*.py",
    "comflowy_nb/**/*.js",
    "tests/**/*.py",
    "benchmarks/**/*",
    "tools/**/*.py",
    "docs/**/*.md",
    "notebooks/*.py",
    "notebooks/*.ipynb",
    "*.md",
    "Makefile",
    "pyproject.toml",
]

# Pattern -> the standard term. Patterns match whole words, in any case.
BANNED = {
    r"nobody|somebody|whoever": "name the actor: the tracker, the server, another process",
    r"pictures?": "image",
    r"told|heard": "notified, received; an event or a notification",
    r"wish(es)?": "request, or the name of the option",
    r"what (is|are|was|were) (no|not) \w+": "name the thing: 'a file that is not an image'",
    r"(?<!there )(is|are|was|were) no (\w+ )?(image|number|text|name|file|list|workflow|field)": "is not a",
    r"stands? (there|for|in|at|on)": "is, means",
    r"at (a|the) moment": "while, now",
    r"of (its|their|one's) own": "own, separate",
    r"remark(s|ed)?": "warning",
    r"as it is": "unchanged",
    r"ledger|roster|crew|shelf|pace|paces": "the standard name of the mechanism",
    r"badly|ended badly": "failed",
}
# Lines that quote text which is not ours: prompts, ComfyUI's messages.
EXCUSED = {"tests/test_prose.py"}


def lines():
    for pattern in SEARCHED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix not in {".png", ".zip", ".json"} and name not in EXCUSED:
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    if '"image/png"' not in line:  # a base64 text in a notebook
                        yield f"{name}:{number}", line


def findings(text):
    return [
        f"{found.group()!r}: {advice}"
        for pattern, advice in BANNED.items()
        for found in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", text, re.IGNORECASE)
    ]


def test_texts_have_no_banned_phrase():
    found = [f"{place}: {finding}" for place, line in lines() for finding in findings(line)]
    assert not found, "\n".join(found)

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
    r"(?<!<)(?<!</)pictures?": "image",  # <picture> is an element of HTML
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
    r"(go|goes|going|went) wrong": "fails, failed",
    r"(draw|draws|drawn) seeds?": "generate, generated seed",
    r"buried|taken up": "orphaned, adopted",
    r"hand(s|ed)? (over|in|out|on)": "pass, passed, upload",
    r"lets? go( of)?": "release",
    r"all the same": "still, nevertheless",
    r"anew|afresh|thereby|thereof|whereupon|henceforth|likewise|hence|thus": "again, so",
    r"over and over|again and again|by and by|once and for all": "repeatedly",
    r"whatever|wherever|however (often|many|much)": "any, each; 'for every status'",
    r"so many (?!that)\w+": "the number, or 'this many'",
    r"stumbl(e|es|ed|ing)|dawdl(e|es|ed|ing)|babbl(e|es|ed|ing)": "fail, be slow, send garbage",
    r"slips?": "typing error",
    r"a day later": "in a later kernel",
}
# Lines that quote text which is not ours: prompts, ComfyUI's messages.
EXCUSED = {"tests/test_prose.py"}


def lines():
    for pattern in SEARCHED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix not in {".png", ".zip", ".json", ".pyc"} and name not in EXCUSED:
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    if '"image/png"' not in line:  # a base64 text in a notebook
                        yield f"{name}:{number}", line


ANY_BANNED = re.compile(rf"(?<![\w-])(?:{'|'.join(f'(?:{pattern})' for pattern in BANNED)})(?![\w-])", re.IGNORECASE)


def findings(text):
    """Return the banned phrases of a line, also in the names of its functions: `test_a_run_of_its_own`."""
    names = [name.replace("_", " ") for name in re.findall(r"\bdef (\w+)", text)]
    if not any(ANY_BANNED.search(part) for part in (text, *names)):
        return []
    return [
        f"{found.group()!r}: {advice}"
        for pattern, advice in BANNED.items()
        for part in (text, *names)
        for found in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", part, re.IGNORECASE)
    ]


def test_texts_have_no_banned_phrase():
    found = [f"{place}: {finding}" for place, line in lines() for finding in findings(line)]
    assert not found, "\n".join(found)

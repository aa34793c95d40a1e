"""IPython in a terminal and `jupyter console`, typed into through a pty."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pexpect
import pytest
from front_end_processes import SMALL, require
from PIL import Image

DEADLINE_S = 120
CURSOR_REQUEST = "\x1b[6n"
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>]|\r")


class Terminal:
    """A program in a pty of 200 columns."""

    def __init__(self, command, variables, folder):
        self.child = pexpect.spawn(
            sys.executable, ["-m", *command], env=variables | {"TERM": "xterm", "COLUMNS": "200"}, cwd=str(folder),
            dimensions=(50, 200), encoding="utf-8", timeout=DEADLINE_S,
            use_poll=True,  # select() fails if this process has 1024 files open, as after many tests
        )  # fmt: skip
        self.number = 0  # of the last prompt
        self.await_prompt()

    def await_prompt(self):
        """Wait for the next prompt; return the text before it, without escape sequences."""
        self.number += 1
        text = ""
        while True:
            found = self.child.expect_exact([CURSOR_REQUEST, f"In [{self.number}]"])
            text += self.child.before
            if found:
                return ESCAPES.sub("", text)
            self.child.send("\x1b[1;1R")  # prompt_toolkit asks where the cursor is

    def enter(self, line):
        """Type a line, and return what is printed until the next prompt."""
        self.child.send(f"{line}\r")
        return self.await_prompt()


@pytest.fixture(params=["ipython", "console"])
def terminal(request, variables, folder):
    if request.param == "console":
        require("jupyter_console")
    commands = {
        "ipython": ["IPython", "--simple-prompt", "--no-confirm-exit"],
        "console": ["jupyter", "console", "--simple-prompt"],
    }
    opened = Terminal(commands[request.param], variables | {"COMFLOWY_HOME": f"{folder}/{request.param}"}, folder)
    yield opened
    opened.enter("%unload_ext comflowy_nb")
    opened.child.sendline("exit")
    opened.child.expect(pexpect.EOF)
    opened.child.close()


def paths_in(text):
    return [Path(found) for found in re.findall(r"^  (/\S+\.png)$", text, re.MULTILINE)]


def test_lines_and_paths_are_printed_and_an_interrupt_cancels(terminal):
    """In `jupyter console` a run stayed "submitting": this front end ignores the updates of a display."""
    terminal.enter("%load_ext comflowy_nb")
    assert "connected to sandbox" in terminal.enter("%comflowy connect sandbox")

    ran = terminal.enter(f"%comflowy run default seed=7 {SMALL} --as one")
    assert re.search(r"^r1 one \(default\) - success in [\d.]+ s$", ran, re.MULTILINE)
    (image,) = paths_in(ran)
    assert Image.open(image).size == (128, 128)

    swept = terminal.enter(f"%comflowy sweep default cfg=3,6 seed=7 {SMALL} --as grid")
    assert "2 of 2 success" in swept
    assert len(paths_in(swept)) == 2

    assert "same in all: seed 7" in terminal.enter("%comflowy compare grid.1 grid.2")
    assert "s1.2 cfg 6, seed 7: success" in terminal.enter("%comflowy explore grid")
    assert "a form needs a notebook" in terminal.enter("%comflowy form default")
    assert paths_in(terminal.enter("one")) == [image]

    terminal.child.send("%comflowy run default steps=10000 seed=8\r")
    terminal.child.expect_exact("running")
    terminal.child.sendintr()
    interrupted = terminal.await_prompt()
    assert "KeyboardInterrupt: r4: cancelled" in interrupted
    assert "Traceback" not in interrupted
    assert re.search(r"^r4 .* cancelled ", terminal.enter("%comflowy runs"), re.MULTILINE)

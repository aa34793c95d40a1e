from __future__ import annotations

import io

from comflowy_nb.cli.progress import ProgressReporter, one_line


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_live_line_is_written_over():
    screen = Screen()
    teller = ProgressReporter(screen)
    teller.status("r1 waiting")
    teller.status("r1 running")
    teller.line("next")
    assert screen.getvalue() == "\r\x1b[2K      r1 waiting\r\x1b[2K      r1 running\nnext\n"


def test_colours_and_breaks_are_left_out():
    assert one_line("\x1b[31mred\x1b[0m\n  and  plain") == "red and plain"

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import LineError, WorkflowError
from comflowy_nb.workflow.syntax.body import Body, read_body
from comflowy_nb.workflow.workflow import Workflow


def text_of(body):
    """Return the text of the only setting, as STRING reads it."""
    (setting,) = read_body(body).settings
    return setting.value


def plain_of(body):
    """Return the text of the only setting as other types read it, and whether it was quoted."""
    (setting,) = read_body(body).settings
    return setting.plain


@pytest.mark.parametrize(
    "text",
    [
        "bottle #1",
        "bottle # 1",
        "# 1",
        "a photo: of",
        "[a:b:0.5]",
        "{day|night}",
        '"red" and "blue"',
        "don't",
        "C:\\pics",
        "$5",
        "a || b",
        '["a", "b"]',
        "{a: b}",
        "- a",
        "1..5",
        "text=",
        "a, b,",
        "it's # not a comment;",
        "null",
        "*anchor &ref !tag % @ `",
        "'tis",
        '"open',
        "|",
        ">",
        "a :: b",
        "http://x/y?z=1",
    ],
)
def test_text_after_a_key_extends_to_the_end_of_the_line(text):
    (setting,) = read_body(f"6::text: {text}\n").settings
    assert (setting.key, setting.value, setting.quoted, setting.where) == ("6::text", text, False, "line 1")


def test_a_key_ends_at_the_first_colon_before_white_space():
    keys = {
        setting.key: setting.value
        for setting in read_body("57:12::cfg: 7\nall::seed: 5\nprompt:\na b: c: d\n").settings
    }
    assert keys == {"57:12::cfg": "7", "all::seed": "5", "prompt": "", "a b": "c: d"}


@pytest.mark.parametrize("line", ["cfg=7", "cfg:7", "3::cfg", "3:: cfg", "just words", ": 7"])
def test_error_for_a_line_without_a_key_has_the_line_number(line):
    with pytest.raises(LineError, match="line 3"):
        read_body(f"6::text: a\n\n{line}\n")


def test_an_indented_first_line_is_an_error():
    with pytest.raises(LineError, match="line 1"):
        read_body("   go on\n6::text: a\n")


def test_lines_that_begin_with_a_hash_are_comments():
    body = read_body("# first\n#second\n6::text: a\n# between\n   b\n#: x\n7::text: c\n")
    assert [(setting.key, setting.value) for setting in body.settings] == [("6::text", "a b"), ("7::text", "c")]
    assert [setting.where for setting in body.settings] == ["line 3", "line 7"]


def test_an_indented_hash_continues_the_text():
    assert text_of("6::text: bottle\n  #1 of many\n") == "bottle #1 of many"


def test_indented_lines_are_joined_by_one_space():
    assert text_of("6::text: a\n   b\n\tc  \n\n  d\n\n") == "a b c d"
    assert text_of("6::text:\n  a\n  b") == "a b"


def test_bar_after_a_key_keeps_line_breaks():
    assert text_of("6::text: |\n  a\n    b: c\n\n  d  \n\n") == "a\n  b: c\n\nd  "
    assert text_of("6::text: |\n    a\n  b\n") == "  a\nb"
    assert text_of('6::text: |-\n  "a" # b\n') == '"a" # b'


def test_angle_bracket_after_a_key_joins_lines():
    assert text_of("6::text: >\n  a\n  b\n\n  c\n") == "a b\nc"


def test_bar_without_lines_below_is_text():
    assert text_of("6::text: |\n") == "|"


def test_a_text_below_a_bar_is_not_a_number():
    assert plain_of("x: |\n  5\n") == ("5", True)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ('"a cat"', "a cat"),
        ("'a cat'", "a cat"),
        ("'don't'", "don't"),
        ('"  spaces  "', "  spaces  "),
        ('"a\\nb"', "a\\nb"),
        ('"C:\\pics\\"', "C:\\pics\\"),
        ('""', ""),
    ],
)
def test_quotes_around_the_whole_value_are_removed_and_contain_no_escapes(typed, text):
    (setting,) = read_body(f"6::text: {typed}\n").settings
    assert (setting.value, setting.quoted) == (text, True)


@pytest.mark.parametrize("typed", ['"red" and "blue"', '"a", "b"', '"a"||"b"', '"a" b', "'", '"', "\"a'", "'a' # b"])
def test_quotes_around_a_part_of_the_value_are_part_of_the_text(typed):
    (setting,) = read_body(f"6::text: {typed}\n").settings
    assert (setting.value, setting.quoted) == (typed, False)


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("7 # good", ("7", False)),
        ("7 #good", ("7 #good", False)),
        ("7# good", ("7# good", False)),
        ("7 #", ("7", False)),
        ("# nothing", ("", False)),
        ('"a # b" # c', ("a # b", True)),
        ('"a # b"', ("a # b", True)),
        ("random#3", ("random#3", False)),
        ("1 # one\n  2 # two", ("1 2", False)),
    ],
)
def test_hash_between_spaces_begins_a_comment_for_types_other_than_string(typed, plain):
    assert plain_of(f"cfg: {typed}\n") == plain


def test_block_list_is_a_text_that_is_marked_as_a_list():
    (setting,) = read_body("cfg:\n  - 4\n  - 8\n").settings
    assert (setting.value, setting.is_list) == ("- 4 - 8", True)
    (setting,) = read_body("cfg: - 4\n").settings
    assert not setting.is_list


def test_body_with_every_line_indented_is_read():
    body = read_body("    6::text: a\n      b\n    # c\n    7::text: d\n")
    assert [(setting.key, setting.value) for setting in body.settings] == [("6::text", "a b"), ("7::text", "d")]


def test_carriage_returns_at_line_ends_are_removed():
    assert [setting.value for setting in read_body("6::text: a\r\n  b\r\n7::text: c\r\n").settings] == ["a b", "c"]


def test_other_line_separators_stay_in_the_text():
    text = "a\u2028b\x85c\x0bd\x1ce\u00a0"
    assert text_of(f"6::text: {text}\n") == text


def test_an_empty_body_sets_nothing():
    for body in ("", "\n\n", "# only\n"):
        assert read_body(body) == Body([])


def test_a_quoted_key_after_other_keys_is_read_without_its_quotes():
    assert read_body('6::text: a\n"7::text": b\n').settings[1].key == "7::text"


def test_a_payload_is_recognised_by_its_first_line():
    for body in (
        "{a: 1}",
        "  {\n a: 1}",
        '"3::cfg": 7',
        "'3::cfg': 7",
        "const p = {}",
        "let p={}",
        "var p = {}",
        "# x\n{}",
    ):
        assert all(setting.is_python_value for setting in read_body(body).settings), body
    for body in ("variant: a", "letter: b", "constant: 5", "params: 5", "workflow_id: 5"):
        assert not read_body(body).settings[0].is_python_value, body


def test_a_payload_must_be_for_the_same_workflow():
    workflow = Workflow("portrait", "3fef208b")
    for workflow_id in (None, "test_workflow_id", "3fef208b", "portrait"):
        Body([], workflow_id).check_workflow(workflow)
    with pytest.raises(WorkflowError, match=r"other.*portrait"):
        Body([], "other").check_workflow(workflow)
    with pytest.raises(WorkflowError):
        Body([], "default").check_workflow(Workflow("drawing"))


_LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=60)


@given(_LINE)
def test_any_text_in_a_line_is_submitted_as_typed(text):
    """Exceptions: white space at the ends, quotes around all of it, and `|` or `>` alone with lines below."""
    (setting,) = read_body(f"6::text: {text}\n").settings
    stripped = text.strip(" \t\r")
    if setting.quoted:
        assert stripped == f"{stripped[0]}{setting.value}{stripped[0]}"
    else:
        assert setting.value == stripped


@given(st.lists(_LINE.filter(str.strip).filter(lambda line: line[0] not in " \t"), min_size=1, max_size=6))
def test_any_lines_below_a_bar_are_submitted_as_typed(lines):
    body = "6::text: |\n" + "".join(f"    {line}\n" for line in lines)
    assert text_of(body) == "\n".join(lines)

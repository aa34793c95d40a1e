from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.line import SPACE, expand, expand_text, is_name, split_line, split_silencer


def values(line):
    return {word.key: word.value for word in split_line(line)}


def texts(line):
    return [word.text for word in split_line(line)]


def test_words_are_separated_by_white_space():
    assert texts("run default  cfg=7\tsteps=20 ") == ["run", "default", "cfg=7", "steps=20"]
    assert texts("") == texts("  ") == []


def test_a_word_with_an_equals_sign_has_key_and_value():
    word = split_line("run 3::cfg=7")[1]
    assert (word.key, word.value, word.quoted, word.raw, word.start) == ("3::cfg", "7", False, "3::cfg=7", 4)


def test_only_the_first_equals_sign_separates_key_and_value():
    assert values("text=a=b") == {"text": "a=b"}


def test_word_with_a_slash_or_question_mark_before_the_equals_sign_is_not_a_setting():
    for line in ("https://app.comflowy.com/app?id=3fef208b", "a/b=c", "app?id=1", "./x=1.json"):
        (word,) = split_line(line)
        assert (word.key, word.value, word.text) == (None, None, line)


def test_word_with_a_slash_after_the_equals_sign_is_a_setting():
    assert values("mine=https://app.comflowy.com/x?a=b --save=out/pics") == {
        "mine": "https://app.comflowy.com/x?a=b",
        "--save": "out/pics",
    }


def test_empty_value_is_an_empty_text():
    assert values("text= cfg=7") == {"text": "", "cfg": "7"}
    (word,) = split_line("text=")
    assert not word.quoted


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('text="a cat, sitting"', "a cat, sitting"),
        ("text='a cat'", "a cat"),
        ("text='don't'", "don't"),
        ('text="say "hi" to me"x"', None),
        ('text=""', ""),
        ('text="a=b # c || d"', "a=b # c || d"),
        ('text="C:\\pics\\"', "C:\\pics\\"),
        ('text="a"b"', 'a"b'),
        ("text=\"it's 5 o'clock\"", "it's 5 o'clock"),
        ('text=" a "', " a "),
    ],
)
def test_a_quote_opens_after_the_equals_sign_and_closes_before_white_space(line, value):
    if value is None:
        # `hi"` closes before the space, so the rest are separate words
        assert [word.raw for word in split_line(line)] == ['text="say "hi"', "to", 'me"x"']
        return
    (word,) = split_line(line)
    assert (word.value, word.quoted) == (value, True)


@pytest.mark.parametrize(
    "value", ["don't", 'a"b"', "5'6\"", "C:\\pics", "$5", "{day|night}", "[a:b:0.5]", "it''s", "`x`"]
)
def test_other_quotes_apostrophes_and_backslashes_are_literal(value):
    (word,) = split_line(f"text={value}")
    assert (word.value, word.quoted) == (value, False)


def test_a_quote_opens_at_the_start_of_a_word():
    _, second = split_line("run 'my flow.json'")
    assert (second.text, second.key, second.quoted, second.raw) == ("my flow.json", None, True, "'my flow.json'")


def test_a_word_in_quotes_is_not_a_setting():
    (word,) = split_line('"cfg=7 and more"')
    assert (word.text, word.key, word.value) == ("cfg=7 and more", None, None)


def test_a_quote_within_a_word_is_a_character():
    assert texts("run it's") == ["run", "it's"]


def test_an_unclosed_quote_is_shown_with_a_caret_and_points_to_the_body():
    with pytest.raises(LineError) as caught:
        split_line("run default text='tis the season")
    lines = str(caught.value).split("\n")
    assert lines[1].index("'") == lines[2].index("^")
    assert "%%comflowy run" in str(caught.value)


def test_excerpt_of_a_long_line_shows_the_position_of_an_error():
    line = "run default text=" + "x" * 500 + " 6::text='tis " + "y" * 500
    with pytest.raises(LineError) as caught:
        split_line(line)
    _, excerpt, caret, _ = str(caught.value).split("\n")
    assert excerpt[caret.index("^")] == "'"
    assert len(excerpt) < 120


@pytest.mark.parametrize("line", ['text="a","b"', 'text="a"||"b"', 'text="a", cfg=7', 'text="a",'])
def test_error_for_a_list_of_quoted_texts_suggests_sweep(line):
    with pytest.raises(LineError, match="sweep"):
        split_line(line)


def test_a_lone_hash_begins_a_comment():
    assert texts('run default cfg=7 # it\'s "better" #1') == ["run", "default", "cfg=7"]
    assert texts("# nothing") == texts("#") == []
    assert texts("run cfg=7 #") == ["run", "cfg=7"]


def test_a_hash_that_begins_a_word_is_an_error_and_not_a_comment():
    for line in ("run default text=bottle #1", "run #x", "##"):
        with pytest.raises(LineError, match="#"):
            split_line(line)


def test_a_hash_within_a_word_or_in_quotes_is_text():
    assert texts('run seed=random#3 text="bottle #1" a#b') == ["run", "seed=random#3", "text=bottle #1", "a#b"]
    assert split_line("'#1'")[0].text == "#1"


def test_error_for_a_field_in_quotes_shows_the_correct_spelling():
    for line in ('"3::cfg"=7', '"3::sampler_name"="euler" text="a b"'):
        with pytest.raises(LineError, match=r"3::\w+=VALUE"):
            split_line(line)


def test_a_word_that_begins_with_an_equals_sign_is_an_error():
    with pytest.raises(LineError, match="without spaces"):
        split_line("run text = cat")


def test_no_break_space_does_not_separate_words():
    assert texts("run text=a\u00a0b\u3000c") == ["run", "text=a\u00a0b\u3000c"]


def test_a_final_semicolon_is_removed_from_the_line():
    assert split_silencer("run default text=a;") == ("run default text=a", True)
    assert split_silencer("run default ; ") == ("run default ", True)
    assert split_silencer('run default text="a;"') == ('run default text="a;"', False)
    assert split_silencer("") == ("", False)


@given(st.text(alphabet="ab=#'\"\\/?,|{}:; \t\u00a0é🦊", max_size=40))
def test_words_and_separators_contain_every_character_of_a_line(line):
    """Only white space is between the words of a line, and only white space or a comment after the last one."""
    try:
        words = split_line(line)
    except LineError:
        return
    end = 0
    for word in words:
        assert not line[end : word.start].strip(SPACE)
        assert line[word.start : word.start + len(word.raw)] == word.raw
        end = word.start + len(word.raw)
    rest = line[end:].strip(SPACE)
    assert not rest or rest == "#" or (rest[0] == "#" and rest[1] in SPACE)


@given(st.text(max_size=60))
def test_word_keeps_all_characters_except_its_quotes(line):
    try:
        words = split_line(line)
    except LineError:
        return
    for word in words:
        assert len(word.raw) - len(word.text) in ({2} if word.quoted else {0, 2})
        if word.key is not None:
            assert word.text == f"{word.key}={word.value}"


@given(st.text(alphabet=st.characters(exclude_characters='"'), max_size=60))
def test_a_text_in_quotes_is_submitted_as_typed(text):
    (word,) = split_line(f'text="{text}"')
    assert (word.value, word.quoted) == (text, True)


@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize("value", ["x", '"a b"', ""])
def test_a_field_whose_node_id_has_a_space_is_quoted(sweep, value):
    """Such a field could not be set on the line, because its key ended at the space."""
    _, second = split_line(f'run "my node::text"={value}', sweep=sweep)
    assert (second.key, second.value, second.quoted) == ("my node::text", value.strip('"'), value.startswith('"'))
    with pytest.raises(LineError, match="without"):
        split_line('run "3::cfg"=7', sweep=sweep)


# -- expansion -----------------------------------------------------------------------------------------------------

NAMES = {"subject": "a fox", "n": 3, "sizes": [1, 2], "größe": "big", "day": "Monday"}


def test_name_alone_expands_to_the_object():
    assert expand("{sizes}", NAMES) is NAMES["sizes"]
    assert expand("{n}", NAMES) == 3
    assert expand("{größe}", NAMES) == "big"


def test_name_in_a_longer_text_expands_to_the_str_of_the_object():
    assert expand("{subject} by {n} trees", NAMES) == "a fox by 3 trees"
    assert expand(" {n}", NAMES) == " 3"
    assert expand("{sizes}!", NAMES) == "[1, 2]!"


def test_double_braces_expand_to_single_braces():
    assert expand("{{subject}}", NAMES) == "{subject}"
    assert expand("{{unknown}} {subject}", NAMES) == "{unknown} a fox"
    assert expand("{{{subject}}}", NAMES) == "{{subject}}"
    assert not is_name("{{subject}}")


def test_an_expanded_text_is_not_expanded_again():
    assert expand("x {a}", {"a": "{b} {{c}}", "b": 1}) == "x {b} {{c}}"


@pytest.mark.parametrize(
    "text",
    [
        "{day|night}",
        "{ day }",
        "{}",
        "{1}",
        "{a.b}",
        "{a b}",
        "{a:0.5}",
        '{"a": 1}',
        "$5",
        "$day",
        "{{a|b}}",
        "{",
        "}{",
        "%d",
    ],
)
def test_other_braces_and_dollars_are_text(text):
    assert expand(text, NAMES) == text


def test_error_for_an_undefined_name_shows_the_name_and_double_braces():
    with pytest.raises(LineError) as caught:
        expand("a {subjekt} b", NAMES)
    assert "subjekt" in str(caught.value)
    assert "{{subjekt}}" in str(caught.value)
    assert "Did you mean {subject}?" in str(caught.value)
    with pytest.raises(LineError, match="night"):
        expand("{night}", {})


def test_names_of_python_builtins_are_not_expanded():
    with pytest.raises(LineError):
        expand("{print}", NAMES)


def test_without_a_namespace_no_name_is_expanded():
    for text in ("{subject}", "{{subject}}", "a {b}"):
        assert expand(text, None) == expand_text(text, None) == text


def test_expand_text_always_returns_a_text():
    assert expand_text("{n}", NAMES) == "3"
    assert expand_text("r{n}[0]", NAMES) == "r3[0]"


@given(st.text(alphabet=st.characters(exclude_characters="{}"), max_size=60))
def test_a_text_without_braces_is_unchanged(text):
    assert expand(text, {}) == text

"""The words by which texts differ."""

from __future__ import annotations

from comflowy_nb.comparison.text_diff import Piece, mark_words


def shown(texts):
    """Each text with [only] and {some} words in brackets."""
    brackets = {"same": "{}", "some": "{{{}}}", "only": "[{}]"}
    return ["".join(brackets[piece.mark].format(piece.text) for piece in pieces) for pieces in mark_words(texts)]


def test_what_two_texts_do_not_share_is_marked_in_both():
    assert shown(["a glass bottle at sea", "a wooden bottle at night"]) == [
        "a [glass] bottle at [sea]",
        "a [wooden] bottle at [night]",
    ]


def test_an_insertion_is_marked_where_it_was_inserted_and_nothing_else():
    assert shown(["a glass bottle", "a very large glass bottle"]) == ["a glass bottle", "a [very large] glass bottle"]


def test_punctuation_and_weights_are_words_of_their_own():
    assert shown(["bottle, (galaxy:1.2)", "bottle (galaxy:1.5)"]) == [
        "bottle[,] (galaxy:[1.2])",
        "bottle (galaxy:[1.5])",
    ]


def test_a_word_that_moved_is_marked():
    assert shown(["red and blue", "blue and red"]) != ["red and blue", "blue and red"]


def test_of_many_texts_what_one_alone_has_stands_out_from_what_some_have():
    assert shown(["a red bottle", "a red vase", "a green bottle"]) == [
        "a {red bottle}",
        "a {red} [vase]",
        "a [green] {bottle}",
    ]


def test_texts_that_occur_several_times_count_once():
    """With eight equal texts and one other, `red` would be a word that some have, though it is plainly A against B."""
    assert shown(["a red bottle"] * 8 + ["a green bottle"]) == ["a [red] bottle"] * 8 + ["a [green] bottle"]
    assert mark_words(["the same", "the same"]) == [(Piece("the same"),)] * 2


def test_scripts_without_spaces_are_compared_letter_by_letter():
    assert shown(["紫色的瓶子", "绿色的瓶子"]) == ["[紫]色的瓶子", "[绿]色的瓶子"]


def test_pieces_give_the_text_back():
    texts = ["  a  (b:1.2),\tc", "", "x y"]
    assert ["".join(piece.text for piece in pieces) for pieces in mark_words(texts)] == texts


def test_very_long_texts_are_marked_too():
    long = " ".join(f"word{index}" for index in range(20_000))
    first, second = mark_words([long, f"{long} more"])
    assert [piece.mark for piece in first] == ["same"]
    assert second[-1].text.strip() == "more"
    assert second[-1].mark == "only"

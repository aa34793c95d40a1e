"""Find the fields in which images differ, and the words in which texts differ."""

from __future__ import annotations

from comflowy_nb.comparison.differences import KnownFields, Piece, find_differences, mark_words

TIMES = "\N{MULTIPLICATION SIGN}"


def fields_of_image(params=None, **known):
    params = None if params is None else {f"3::{key}" if "::" not in key else key: v for key, v in params.items()}
    return KnownFields(params, tuple(params or ()), **known)


def table(*makers, **options):
    """Return field -> the text of each image."""
    return {row.name: row.texts for row in find_differences(makers, **options).rows}


def test_different_fields_are_rows_and_equal_ones_are_shared():
    differences = find_differences(
        [fields_of_image({"cfg": 7, "steps": 20, "seed": 1}), fields_of_image({"cfg": 4, "steps": 20, "seed": 1})]
    )
    assert [(row.name, row.texts) for row in differences.rows] == [("cfg", ("7", "4"))]
    assert differences.shared == (("steps", "20"), ("seed", "1"))
    assert not differences.seeds_differ


def test_a_value_that_was_not_set_differs_from_one_that_was():
    differences = find_differences([fields_of_image({"cfg": 7}), fields_of_image({})])
    (row,) = differences.rows
    assert row.texts == ("7", "not set")
    assert row.is_known == (True, False)


def test_defaults_are_read_from_the_graph_in_an_image():
    assert table(fields_of_image({"cfg": 7}), fields_of_image({}, others={"3::cfg": 8.0})) == {"cfg": ("7", "8")}
    assert table(fields_of_image({"cfg": 8}), fields_of_image({}, others={"3::cfg": 8.0})) == {}


def test_an_unknown_value_is_not_a_difference():
    assert table(fields_of_image({"cfg": 7}), KnownFields()) == {}
    assert table(fields_of_image({"cfg": 7}, others={"3::steps": 20}), fields_of_image({"cfg": 7})) == {}
    assert table(fields_of_image({"cfg": 7}), fields_of_image({"cfg": 4}), KnownFields()) == {"cfg": ("7", "4", "?")}


def test_no_value_is_shared_if_only_one_image_is_known():
    assert find_differences([fields_of_image({"cfg": 7}), KnownFields()]).shared == ()
    assert find_differences([fields_of_image({"cfg": 7}), fields_of_image({"cfg": 7}), KnownFields()]).shared == (
        ("cfg", "7"),
    )


def test_equal_numbers_are_equal_but_late_digits_and_white_space_count():
    assert table(fields_of_image({"cfg": 7}), fields_of_image({"cfg": 7.0})) == {}
    assert table(fields_of_image({"cfg": 7.12345678}), fields_of_image({"cfg": 7.12345679})) == {
        "cfg": ("7.12345678", "7.12345679")
    }
    assert table(fields_of_image({"6::text": "a  b"}), fields_of_image({"6::text": "a b"})) == {
        "text": ('"a  b"', '"a b"')
    }


def test_large_seeds_keep_every_digit():
    first, second = 2**64 - 1, 2**64 - 2
    differences = find_differences([fields_of_image({"seed": first}), fields_of_image({"seed": second})])
    assert differences.rows[0].texts == (str(first), str(second))
    assert differences.seeds_differ


def test_two_fields_of_one_name_are_distinguished_by_their_nodes():
    makers = [
        fields_of_image({"6::text": "a bottle", "7::text": "blur"}),
        fields_of_image({"6::text": "a vase", "7::text": "noise"}),
    ]
    assert list(table(*makers)) == ["6::text", "7::text"]


def test_long_texts_are_last_with_the_different_words_marked():
    prompts = ["beautiful scenery with a glass bottle", "beautiful scenery with a wooden bottle"]
    differences = find_differences(
        [fields_of_image({"6::text": text, "cfg": cfg}) for text, cfg in zip(prompts, (7, 4), strict=True)]
    )
    assert [row.name for row in differences.rows] == ["cfg", "text"]
    assert [[piece.text for piece in value if piece.mark == "only"] for value in differences.rows[1].values] == [
        ["glass"],
        ["wooden"],
    ]


def test_empty_text_is_shown_as_an_empty_text():
    assert table(fields_of_image({"6::text": ""}), fields_of_image({"6::text": "a bottle"})) == {
        "text": ('""', "a bottle")
    }


def test_different_sizes_and_workflows_are_rows():
    first = fields_of_image({}, facts={"workflow": "default", "service": "sandbox"})
    second = fields_of_image({}, facts={"workflow": "portrait", "service": "sandbox"})
    assert table(first, second, sizes=[(512, 512), (768, 512)]) == {
        "workflow": ("default", "portrait"),
        "size": (f"512 {TIMES} 512", f"768 {TIMES} 512"),
    }


def test_other_values_than_texts_and_numbers_are_compared():
    assert table(fields_of_image({"on": True, "box": [1, 2]}), fields_of_image({"on": False, "box": [1, 3]})) == {
        "on": ("true", "false"),
        "box": ("[1, 2]", "[1, 3]"),
    }


# -- words ---------------------------------------------------------------------------------------------------------


def shown(texts):
    """Return each text with [only] and {some} words in brackets."""
    brackets = {"same": "{}", "some": "{{{}}}", "only": "[{}]"}
    return ["".join(brackets[piece.mark].format(piece.text) for piece in pieces) for pieces in mark_words(texts)]


def test_different_words_of_two_texts_are_marked_in_both():
    assert shown(["a glass bottle at sea", "a wooden bottle at night"]) == [
        "a [glass] bottle at [sea]",
        "a [wooden] bottle at [night]",
    ]


def test_only_the_inserted_words_are_marked():
    assert shown(["a glass bottle", "a very large glass bottle"]) == ["a glass bottle", "a [very large] glass bottle"]


def test_punctuation_and_weights_are_separate_words():
    assert shown(["bottle, (galaxy:1.2)", "bottle (galaxy:1.5)"]) == [
        "bottle[,] (galaxy:[1.2])",
        "bottle (galaxy:[1.5])",
    ]


def test_a_word_that_moved_is_marked():
    assert shown(["red and blue", "blue and red"]) != ["red and blue", "blue and red"]


def test_words_in_only_one_text_are_distinguished_from_words_in_some():
    assert shown(["a red bottle", "a red vase", "a green bottle"]) == [
        "a {red bottle}",
        "a {red} [vase]",
        "a [green] {bottle}",
    ]


def test_equal_texts_are_counted_once():
    """With eight equal texts and one other, `red` would be in some texts, although only two of them differ."""
    assert shown(["a red bottle"] * 8 + ["a green bottle"]) == ["a [red] bottle"] * 8 + ["a [green] bottle"]
    assert mark_words(["the same", "the same"]) == [(Piece("the same"),)] * 2


def test_scripts_without_spaces_are_compared_by_characters():
    assert shown(["紫色的瓶子", "绿色的瓶子"]) == ["[紫]色的瓶子", "[绿]色的瓶子"]


def test_marked_pieces_contain_the_complete_text():
    texts = ["  a  (b:1.2),\tc", "", "x y"]
    assert ["".join(piece.text for piece in pieces) for pieces in mark_words(texts)] == texts


def test_different_words_of_very_long_texts_are_marked():
    long = " ".join(f"word{index}" for index in range(20_000))
    first, second = mark_words([long, f"{long} more"])
    assert [piece.mark for piece in first] == ["same"]
    assert second[-1].text.strip() == "more"
    assert second[-1].mark == "only"

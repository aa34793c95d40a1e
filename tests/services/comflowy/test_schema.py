"""The outputs of a run, from the two lists of the API."""

from __future__ import annotations

import subprocess
import sys

import pytest

from comflowy_nb.services.comflowy.schema import read_outputs

A, B, C, D = (f"https://images.example/{name}.png" for name in "abcd")


def outputs_of(images, full):
    outputs, warning = read_outputs(images, full)
    assert [output.index for output in outputs] == list(range(len(outputs)))
    return [(output.url, output.node, output.node_index) for output in outputs], warning


def test_image_in_both_lists_is_one_output_with_its_node():
    assert outputs_of([A, B], {"9": {"images": [B, A]}}) == ([(A, "9", 1), (B, "9", 0)], None)


def test_output_images_are_first_and_other_images_are_sorted_by_node():
    full = {"10": {"images": [D]}, "9": {"images": [A]}, "3": {"images": [C]}}
    assert outputs_of([A, B], full)[0] == [(A, "9", 0), (B, None, 0), (C, "3", 0), (D, "10", 0)]


def test_order_of_outputs_does_not_depend_on_the_response():
    images = {"12": {"images": [A]}, "5:2": {"images": [B]}, "5:11": {"images": [C]}, "x": {"images": [D]}}
    other = dict(reversed(images.items()))
    assert outputs_of(None, images) == outputs_of(None, other)
    assert [node for _, node, _ in outputs_of(None, images)[0]] == ["5:2", "5:11", "12", "x"]


def test_image_listed_twice_is_one_output():
    assert outputs_of([A, A, B], {"9": {"images": [B, B]}})[0] == [(A, None, 0), (B, "9", 0)]


def test_image_of_two_nodes_belongs_to_the_first_node():
    assert outputs_of([], {"9": {"images": [A]}, "3": {"images": [A]}})[0] == [(A, "3", 0)]


def test_image_with_two_signatures_is_one_output():
    """Storage services sign a URL again each time they list it."""
    first, second = f"{A}?X-Amz-Signature=1&X-Amz-Date=5&v=2", f"{A}?v=2&X-Amz-Signature=77&X-Amz-Date=6"
    assert outputs_of([first], {"9": {"images": [second]}})[0] == [(first, "9", 0)]


def test_urls_that_differ_in_an_unsigned_query_parameter_are_two_images():
    first, second = "/view?filename=a.png&type=output", "/view?filename=b.png&type=output"
    assert len(outputs_of([first, second], None)[0]) == 2


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_a_response_without_images_has_no_outputs(nothing):
    assert outputs_of(nothing if nothing != {} else None, None) == ([], None)


@pytest.mark.parametrize(
    ("images", "full", "expected", "words"),
    [
        ([A, None, 5, ""], None, [A], "3 of 4 entries of output_images are not URLs"),
        ([A, []], None, [A], "1 of 2 entries of output_images is not a URL"),
        (A, None, [A], "output_images is not a list"),
        (5, None, [], "output_images is not a list"),
        ([{"url": A}], None, [A], None),
        (None, [A], [], "full_outputs is not an object"),
        (None, {"9": "x"}, [], "full_outputs of node 9 is not an object"),
        (None, {"9": None, "8": {"images": [A]}}, [A], None),
        (None, {"9": {"text": ["hello"]}}, [], None),
        (None, {"9": [A]}, [A], None),
    ],
)
def test_invalid_entries_cause_a_warning(images, full, expected, words):
    outputs, warning = outputs_of(images, full)
    assert [url for url, _, _ in outputs] == expected
    assert warning == words


def test_warnings_and_reprs_contain_no_url():
    outputs, warning = read_outputs([{"no": A}, B], {"9": {"images": [A, 5]}})
    assert "example" not in f"{warning} {outputs!r}"


DECODE_ON_THREADS = """
import sys, threading
from comflowy_nb.services.comflowy.schema import read_check, read_published

sys.setswitchinterval(1e-6)
checked = b'{"success": true, "data": {"status": "running"}}'
published = b'{"success": true, "data": [{"id": "w"}]}'
start = threading.Barrier(8)

def decode():
    start.wait()
    read_check(checked), read_published(published)

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_first_responses_can_be_decoded_on_several_threads():
    """The kernel died of a segmentation fault: msgspec is not thread-safe when it uses a type for the first time."""
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", DECODE_ON_THREADS], check=False).returncode == 0

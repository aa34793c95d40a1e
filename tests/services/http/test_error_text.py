"""One line of text from a service's error, in any of its shapes."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comflowy_nb.services.http.error_text import MAX_CHARS, read_message, read_problem
from comflowy_nb.services.http.responses import mask_secrets
from comflowy_nb.services.types import Problem
from comflowy_nb.settings import Secret

INVALID = {
    "error": {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": "",
        "extra_info": {},
    },
    "node_errors": {
        "3": {
            "errors": [
                {
                    "type": "value_not_in_list",
                    "message": "Value not in list",
                    "details": "sampler_name: 'eular' not in ['euler', 'heun']",
                    "extra_info": {"input_name": "sampler_name", "received_value": "eular"},
                },
                {"type": "value_smaller_than_min", "message": "Value -1 smaller than min of 0", "details": "cfg"},
            ],
            "dependent_outputs": ["9"],
            "class_type": "KSampler",
        }
    },
}


def test_validation_error_of_a_graph_has_node_and_message():
    problem = read_problem(json.dumps(INVALID))
    assert (problem.node, problem.node_type, problem.field) == ("3", "KSampler", "3::sampler_name")
    assert problem.message == "Value not in list: sampler_name: 'eular' not in ['euler', 'heun'] (and 1 more)"
    assert str(problem).startswith("node 3 (KSampler): Value not in list")


def test_validation_error_without_nodes_has_its_message():
    error = {"error": {"type": "invalid_prompt", "message": "Cannot execute because node X does not exist.",
                       "details": "Node ID '#10'", "extra_info": {}}, "node_errors": {}}  # fmt: skip
    assert read_problem(error).message == "Cannot execute because node X does not exist.: Node ID '#10'"


def test_execution_error_has_node_and_message():
    error = {"node_id": 3, "node_type": "KSampler", "exception_message": "CUDA out of memory\n  tried 2 GB\n",
             "exception_type": "torch.OutOfMemoryError", "traceback": ["  File nodes.py"]}  # fmt: skip
    assert read_problem(error) == Problem("CUDA out of memory tried 2 GB", node="3", node_type="KSampler")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the service gave no reason"),
        ("", "the service gave no reason"),
        ({}, "the service gave no reason"),
        ([], "the service gave no reason"),
        ("out of credit", "out of credit"),
        ("  two\nlines\x00 ", "two lines"),
        ({"message": "no"}, "no"),
        ({"error": {"msg": "deep"}}, "deep"),
        ({"detail": [{"msg": "one"}, {"msg": "two"}]}, "one; two"),
        ('{"error": "inside"}', "inside"),
        (json.dumps(json.dumps({"error": "twice"})), "twice"),
        ("{not json", "{not json"),
        ("<b>bold</b> <script>alert(1)</script>", "<b>bold</b> <script>alert(1)</script>"),
        ("Traceback (most recent call last):\n  File x\nValueError: bad seed\n", "ValueError: bad seed"),
    ],
)
def test_other_formats_of_an_error_have_a_message(answer, message):
    assert read_problem(answer).message == message


def test_text_of_a_web_page_is_its_title():
    page = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title><style>b{}</style></head><body><h1>Bad</h1>nginx"
    assert read_problem(page).message == "a web page saying “502 Bad Gateway - Bad”"
    assert read_problem("<html><body><p>Just&nbsp;text</p></body>").message == "a web page saying “Just text”"
    assert read_problem("<html></html>").message == "a web page"


def test_long_text_is_shortened():
    assert len(read_problem("word " * 5000).message) <= 400
    assert read_problem("x" * 401).message == "x" * 399 + "…"
    assert read_problem("x" * 400).message == "x" * 400


def test_message_of_an_error_response_is_read():
    assert read_message(b'{"success": false, "error": "no credit"}') == "no credit"
    assert read_message(b'{"success": false, "data": {"error": "inner"}}') == "inner"
    assert read_message(json.dumps(INVALID).encode()).startswith("node 3 (KSampler)")
    assert read_message(b"") is None
    assert read_message(b"\xff\xfe") is not None


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_text_of_any_json_is_one_line(value):
    for form in (value, json.dumps(value)):
        message = read_problem(form).message
        assert message
        assert "\n" not in message


@given(
    st.dictionaries(
        st.sampled_from(["error", "node_errors", "node_id", "node_type", "exception_message"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda x: (
                st.lists(x, max_size=3)
                | st.dictionaries(st.sampled_from(["3", "errors", "message", "details", "extra_info", "class_type"]), x)
            ),
        ),
    )
)
@example({"node_errors": {"3": {"errors": 1}, "errors": {"errors": [{}]}}})
def test_comfyui_errors_with_invalid_contents_have_a_text(value):
    assert read_problem(value).message
    assert read_message(json.dumps(value).encode()) is None or read_message(json.dumps(value).encode())


CREDENTIALS = [
    "sk-proj-4f9aXcanary9aXcanary",
    "sk_live_51canary7canary",
    "ghp_canary0canary0canary0canary0canary0",
    "github_pat_11CANARY0canary0canary0canary",
    "glpat-canary0canary0canary",
    "hf_canarycanarycanarycanarycanary",
    "r8_canarycanarycanarycanarycanary",
    "xoxb-1234567890-canary",
    "AKIACANARYCANARYCANA",
    "AIzacanarycanarycanarycanarycanarycanary",
    "LTAI5tcanarycanary",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.canarycanary",
]


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_a_credential_that_a_service_quotes_is_masked(credential):
    """Errors masked only the client's key and token: another key in a service's error was stored in the history."""
    for text in (
        f"upstream refused {credential}",
        f'{{"error": "key \'{credential}\' is wrong"}}',
        f"<h1>{credential}",
    ):
        assert credential not in read_problem(text).message
        assert credential not in read_message(text.encode())
    assert credential not in read_problem({"exception_message": f"401 for {credential} from storage"}).message
    assert read_problem(f"upstream refused {credential}").message == "upstream refused ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("401 for Authorization: Bearer abcd-1234-canary", "401 for Authorization: Bearer ***"),
        ("401 for Authorization: Key abcd-1234-canary", "401 for Authorization: Key ***"),
        ("{'authorization': 'token abcd-1234-canary'}", "{'authorization': 'token ***'}"),
        ("bad header Basic bWU6Y2FuYXJ5MTIz", "bad header Basic ***"),
        ("bad call api_key=canary1234&x", "bad call api_key=***"),
        ("{'access_token': 'canary1234', 'x': 1}", "{'access_token': '***', 'x': 1}"),
        ("bad secret_key=canary1234", "bad secret_key=***"),
        ("extra_data {'api_key_comfy_org': 'canary1234'}", "extra_data {'api_key_comfy_org': '***'}"),
        ("GET https://me:canary@host/x", "GET https://***@host/x"),
        ("-----BEGIN PRIVATE KEY----- MIIcanary -----END PRIVATE KEY----- end", "*** end"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK----- canary -----END PGP PRIVATE KEY BLOCK----- end", "*** end"),
        ("-----BEGIN RSA PRIVATE KEY----- MIIcanary", "***"),
    ],
)
def test_a_named_credential_that_a_service_quotes_is_masked(text, shown):
    assert read_problem(text).message == shown


@pytest.mark.parametrize(
    "text",
    [
        "Unexpected token } in JSON at position 12",
        "token limit of 77 exceeded: 123456789 tokens",
        "the basic scheduler takes 20 steps, cfg 7.5, sampler dpmpp_2m",
        "no secret garden in 'a secret garden, 12345678'",
        "ckpt_name: 'sk-model.safetensors' not in list",
        "invalid token: missing",
        "invalid token: key 3-sampler_name",
        "authorization token expired after 12345678 s",
        "no attribute 'hf_hub_download_with_progress_bar'",
        "xapp-symbolic-icon-theme-2024 is not installed",
        "built from comfyui-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "run eff953ee-8921-8921-8921-f157539440bc:9 of node 57:12",
    ],
)
def test_text_without_credentials_is_unchanged(text):
    assert read_problem(text).message == text


@pytest.mark.parametrize("separator", ["/", "%2F"])
def test_the_address_of_a_webhook_that_a_service_quotes_is_masked(separator):
    """A service that repeated the request in its error put the secret of the run into the history, or a part of it."""
    address = separator.join(["https:", "", "hub.example", "user", "ann", "comflowy", "hooks", "Xk3-_canary"])
    for length in (0, 300, 350, 360, 370, 380, 600):
        text = f"{'a ' * (length // 2)}can't reach {address}, which is down"
        shown = [read_problem(text).message, read_message(json.dumps({"error": text}).encode())]
        assert not [message for message in shown if "Xk3" in message], length
    assert read_problem(f"can't reach {address}").message == f"can't reach {address.replace('Xk3-_canary', '***')}"


def test_a_secret_is_masked_where_the_end_of_a_message_is_cut_off():
    """A service's message was shortened first, so that the beginning of a key stayed in the history."""
    key = "canary+key/1234567890"
    for form in (key, quote(key, safe="")):
        for length in range(MAX_CHARS - len(form) - 8, MAX_CHARS + 8):
            message = read_message(json.dumps({"error": f"{'a' * length} {form} is wrong"}).encode())
            assert "canary" not in mask_secrets(message, (Secret(key),)), length

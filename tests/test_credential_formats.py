"""Errors mask and scans find the tokens of each format; errors also mask the beginning of a token."""

from __future__ import annotations

import re

import pytest
from scanning_canaries import CANARIES

from comflowy_nb.credential_formats import TOKENS
from comflowy_nb.scanning.patterns import find_secrets
from comflowy_nb.services.http.error_text import read_problem

FORMS = ("upstream refused {}", '{{"error": "key \'{}\' is wrong"}}', "({})", "of x={}, which has expired")


def canaries(token):
    return [secret for _, _, secret in CANARIES.values() if re.match(token.whole, secret)]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.whole)
def test_errors_mask_and_scans_find_a_token(token):
    assert canaries(token)
    for secret in canaries(token):
        assert re.match(token.start, secret)
        for text in (form.format(secret) for form in FORMS):
            assert token.kind in {match.kind for match in find_secrets(text)}
            message = read_problem(text).message
            assert "***" in message
            assert not [part for part in re.split(r"[.:-]", secret) if len(part) > 3 and part in message]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.whole)
def test_errors_mask_a_token_that_is_cut_off(token):
    """A service shortened the keys that it quoted."""
    for secret in canaries(token):
        starts = [secret[:length] for length in range(len(secret) + 1) if re.fullmatch(token.start, secret[:length])]
        assert starts
        assert {read_problem(start).message for start in starts} == {"***"}


def test_names_that_resemble_tokens_are_neither_masked_nor_found():
    for text in (
        "no attribute 'hf_hub_download_with_progress_bar_and_retries'",
        "xapp-symbolic-icon-theme-2024 is not installed",
        "npm_config_registry_and_npm_package_version_are_not_set",
        "ghost_writer_model_with_a_very_long_name_v2.safetensors",
    ):
        assert not find_secrets(text)
        assert read_problem(text).message == text

"""Settings: values are checked on assignment, and secrets are never repeated."""

from __future__ import annotations

import traceback

import pytest

from comflowy_nb.errors import SettingsError
from comflowy_nb.settings import OPTIONS, Secret, Settings, expand_home, headers_for


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("workers", 0, "workers must be a whole number from 1 to 32, not 0"),
        ("workers", True, "workers must be a whole number from 1 to 32, not True"),
        ("workers", 2.0, "workers must be a whole number from 1 to 32, not 2.0"),
        ("stall_s", "60", "stall_s must be a number from 0.1 to 86400, not '60'"),
        ("webhooks", "maybe", "webhooks must be one of auto, on, off, not 'maybe'"),
        ("callback_url", "hooks.example", "callback_url must be an http or https address, not 'hooks.example'"),
    ],
)
def test_an_invalid_value_is_an_error_and_changes_nothing(name, value, text):
    settings = Settings()
    with pytest.raises(SettingsError) as caught:
        setattr(settings, name, value)
    assert str(caught.value) == text
    assert getattr(settings, name) == OPTIONS[name].default


def test_an_unknown_setting_lists_the_known_ones():
    settings = Settings()
    with pytest.raises(SettingsError, match="unknown setting 'speed': use one of webhooks, headers"):
        settings.speed = 3
    with pytest.raises(SettingsError, match=r"unknown setting 'worker'\. Did you mean workers\?"):
        settings.worker = 3
    with pytest.raises(AttributeError, match="unknown setting 'worker'"):
        _ = settings.worker


def test_reset_restores_the_defaults():
    settings = Settings()
    settings.workers, settings.callback_url = 8, "https://hooks.example/"
    assert settings.callback_url == "https://hooks.example"
    settings.reset()
    assert (settings.workers, settings.callback_url) == (4, None)


@pytest.mark.parametrize(
    "headers",
    [
        "canary",
        {"https://a.example": "canary"},
        {"a.example": {"X-Key": "canary"}},
        {"https://a.example": {"X Key": "canary"}},
        {"https://a.example": {"X-Key": "canary\r\nX: y"}},
    ],
)
def test_invalid_headers_are_not_repeated(headers):
    settings = Settings()
    with pytest.raises(SettingsError, match=r"headers must be \{'https://host'") as caught:
        settings.headers = headers
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "canary" not in "".join(trace.format()).rpartition("settings.py")[2]


def test_headers_are_secrets_and_not_sent_over_plain_http(monkeypatch):
    monkeypatch.setenv("COMFLOWY_HEADERS", '{"https://a.example": {"X-Key": "k"}, "http://a.example": {"X-Key": "k"}}')
    assert headers_for("https://a.example/base") == {"X-Key": Secret("k")}
    assert headers_for("https://b.example") == {}
    with pytest.raises(SettingsError, match="plain http"):
        headers_for("http://a.example")


def test_a_path_with_a_nul_character_is_an_error():
    """`save last` and `run` with such a name ended in a ValueError of the operating system."""
    with pytest.raises(SettingsError, match=r"invalid path 'a\\x00.zip': it contains a NUL character"):
        expand_home("a\0.zip")

"""API keys: lookup, storage, and the origins they are sent to."""

from __future__ import annotations

import sys
import types

import pytest

from comflowy_nb.errors import AuthError, SettingsError
from comflowy_nb.services import credentials as keys
from comflowy_nb.services.credentials import check_key_transport, find_key, forget_key, store_key, stored_key
from comflowy_nb.settings import Secret

CLOUD = "https://app.comflowy.com"
OTHER = "https://other.example"


@pytest.fixture(autouse=True)
def no_session_keys(monkeypatch):
    monkeypatch.setattr(keys, "_session_keys", {})


class FakeKeyring(types.ModuleType):
    """A working keyring."""

    def __init__(self):
        super().__init__("keyring")
        self.passwords = {}

    def get_password(self, service, user):
        return self.passwords.get((service, user))

    def set_password(self, service, user, password):
        self.passwords[service, user] = password

    def delete_password(self, service, user):
        del self.passwords[service, user]


class BrokenKeyring(FakeKeyring):
    def get_password(self, *_):
        raise RuntimeError("no backend is available")

    set_password = delete_password = get_password


@pytest.fixture
def keyring(monkeypatch):
    keyring = FakeKeyring()
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    return keyring


def test_a_key_is_looked_up_in_the_documented_order(keyring, monkeypatch):
    prompted_origins = []

    def prompt(origin):
        prompted_origins.append(origin)
        return Secret("typed")

    def found_key(**options):
        return find_key(CLOUD, ask=prompt, **options).reveal()

    assert found_key() == "typed"
    assert prompted_origins == [CLOUD]
    store_key(CLOUD, Secret("kept"))
    assert found_key() == "kept"
    monkeypatch.setenv("COMFLOWY_API_KEY", "from-env")
    assert found_key() == "from-env"
    assert found_key(explicit=Secret("given")) == "given"
    assert prompted_origins == [CLOUD]


def test_the_key_of_the_environment_is_sent_only_to_its_origin(monkeypatch):
    monkeypatch.setenv("COMFLOWY_API_KEY", "secret-of-env")
    with pytest.raises(AuthError, match="is sent only to the address in COMFLOWY_URL") as caught:
        find_key(OTHER)
    assert "secret-of-env" not in str(caught.value)
    monkeypatch.setenv("COMFLOWY_URL", f"{OTHER}/some/path")
    assert find_key(OTHER) == Secret("secret-of-env")
    with pytest.raises(AuthError):
        find_key(CLOUD)


def test_stored_key_is_returned_only_for_its_origin(keyring):
    assert store_key(CLOUD, Secret("kept"))
    assert keyring.passwords == {("comflowy_nb", CLOUD): "kept"}
    for origin in (OTHER, "http://app.comflowy.com", f"{CLOUD}:8443"):
        assert stored_key(origin) is None


def test_error_for_a_missing_key_lists_the_ways_to_set_it(monkeypatch):
    with pytest.raises(AuthError) as caught:
        find_key(CLOUD, ask=lambda _: None)
    text = str(caught.value)
    assert "in the settings on the home page of https://app.comflowy.com" in text
    for way in ("%comflowy login", "environment variable COMFLOWY_API_KEY", "key=..."):
        assert way in text
    with pytest.raises(AuthError) as caught:
        find_key(OTHER)
    assert "COMFLOWY_API_KEY" not in str(caught.value)


def test_key_is_stored_by_login_and_deleted_by_logout(keyring):
    assert store_key(CLOUD, Secret(" kept \n")) is True
    assert stored_key(CLOUD) == Secret("kept")
    assert forget_key(CLOUD) is True
    assert stored_key(CLOUD) is None
    assert forget_key(CLOUD) is False


@pytest.mark.parametrize("kind", ["broken", "missing", "null"])
def test_without_a_keyring_the_key_is_kept_in_memory(monkeypatch, kind):
    if kind == "broken":
        monkeypatch.setitem(sys.modules, "keyring", BrokenKeyring())
    elif kind == "missing":
        monkeypatch.setitem(sys.modules, "keyring", None)
    assert store_key(CLOUD, Secret("kept")) is False
    assert stored_key(CLOUD) == Secret("kept")
    assert forget_key(CLOUD) is True
    assert stored_key(CLOUD) is None


def test_new_login_replaces_a_key_in_memory(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    store_key(CLOUD, Secret("old"))
    monkeypatch.setitem(sys.modules, "keyring", FakeKeyring())
    store_key(CLOUD, Secret("new"))
    assert stored_key(CLOUD) == Secret("new")


@pytest.mark.parametrize("text", ["", "  \n", "two words", "ключ", "a\x00b", "line\nbreak"])
def test_an_invalid_key_is_rejected_and_not_repeated(text):
    for call in (lambda: find_key(CLOUD, explicit=Secret(text)), lambda: store_key(CLOUD, Secret(text))):
        with pytest.raises(AuthError) as caught:
            call()
        assert not text.strip() or text not in str(caught.value)


def test_white_space_around_a_key_is_removed(monkeypatch):
    monkeypatch.setenv("COMFLOWY_API_KEY", " abc\n")
    assert find_key(CLOUD) == Secret("abc")
    assert find_key(OTHER, explicit=Secret("\tdef ")) == Secret("def")


def test_an_invalid_address_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("COMFLOWY_URL", "comflowy")
    with pytest.raises(SettingsError, match="COMFLOWY_URL"):
        find_key(CLOUD)


def test_a_key_is_sent_over_plain_http_only_to_this_machine():
    for origin in (CLOUD, "http://127.0.0.1:1", "http://localhost:8000", "http://[::1]:1", "https://192.168.0.2"):
        check_key_transport(origin)
    for origin in ("http://app.comflowy.com", "http://192.168.0.2:8000", "http://localhost.example"):
        with pytest.raises(AuthError, match="plain http"):
            check_key_transport(origin)

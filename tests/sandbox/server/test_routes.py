"""Tokens and proofs."""

from __future__ import annotations

from comflowy_nb.sandbox.server.routes import TOKEN_LIFE_S, ApiKeyCheck, new_key


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_token_is_valid_until_it_expires():
    clock = Clock()
    auth = ApiKeyCheck("the key", clock=clock)
    token = auth.token_for("the key")
    assert auth.admits(f"Bearer {token}")
    assert auth.admits(f"bearer {token}")
    clock.now = TOKEN_LIFE_S - 1
    assert auth.admits(f"Bearer {token}")
    later = auth.token_for("the key")
    clock.now = TOKEN_LIFE_S
    assert not auth.admits(f"Bearer {token}")
    assert auth.admits(f"Bearer {later}")


def test_a_new_token_over_the_limit_removes_only_the_oldest():
    auth = ApiKeyCheck("the key")
    tokens = [auth.token_for("the key") for _ in range(1001)]
    assert [auth.admits(f"Bearer {token}") for token in (tokens[0], tokens[1], tokens[-1])] == [False, True, True]


def test_wrong_keys_and_headers_are_rejected():
    auth = ApiKeyCheck("the key")
    token = auth.token_for("the key")
    for key in ("", "the", "the key ", "the kéy", "\udcff"):
        assert auth.token_for(key) is None
    for header in (None, "", "Bearer", "Bearer ", token, f"Basic {token}", f"Bearer {token}x", "Bearer the key"):
        assert not auth.admits(header)


def test_proof_depends_on_key_and_nonce():
    auth = ApiKeyCheck("the key")
    assert auth.prove("a") == ApiKeyCheck("the key").prove("a")
    assert len({auth.prove("a"), auth.prove("b"), ApiKeyCheck("another").prove("a"), auth.prove("\udcff")}) == 4


def test_keys_differ_and_are_long():
    assert new_key() != new_key()
    assert len(new_key()) >= 43

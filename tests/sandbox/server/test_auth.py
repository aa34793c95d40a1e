"""Tokens and proofs."""

from __future__ import annotations

from comflowy_nb.sandbox.server.auth import TOKEN_LIFE_S, ApiKeyCheck, new_key


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_token_is_good_until_its_time_is_over():
    clock = Clock()
    door = ApiKeyCheck("the key", clock=clock)
    token = door.token_for("the key")
    assert door.admits(f"Bearer {token}")
    assert door.admits(f"bearer {token}")
    clock.now = TOKEN_LIFE_S - 1
    assert door.admits(f"Bearer {token}")
    later = door.token_for("the key")
    clock.now = TOKEN_LIFE_S
    assert not door.admits(f"Bearer {token}")
    assert door.admits(f"Bearer {later}")


def test_many_tokens_push_out_the_oldest_only():
    door = ApiKeyCheck("the key")
    tokens = [door.token_for("the key") for _ in range(1001)]
    assert [door.admits(f"Bearer {token}") for token in (tokens[0], tokens[1], tokens[-1])] == [False, True, True]


def test_wrong_keys_and_headers_are_refused():
    door = ApiKeyCheck("the key")
    token = door.token_for("the key")
    for key in ("", "the", "the key ", "the kéy", "\udcff"):
        assert door.token_for(key) is None
    for header in (None, "", "Bearer", "Bearer ", token, f"Basic {token}", f"Bearer {token}x", "Bearer the key"):
        assert not door.admits(header)


def test_proof_depends_on_key_and_nonce():
    door = ApiKeyCheck("the key")
    assert door.prove("a") == ApiKeyCheck("the key").prove("a")
    assert len({door.prove("a"), door.prove("b"), ApiKeyCheck("another").prove("a"), door.prove("\udcff")}) == 4


def test_keys_differ_and_are_long():
    assert new_key() != new_key()
    assert len(new_key()) >= 43

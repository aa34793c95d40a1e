"""An access token is fetched once for all threads. A failure is also shared, for a few seconds."""

from __future__ import annotations

import pytest

from comflowy_nb.errors import AuthError, RateLimitError
from comflowy_nb.services.credentials import FAILURE_SHARED_S, Tokens
from comflowy_nb.settings import Secret


class Source:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.count = 0

    def __call__(self):
        self.count += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Secret(answer)


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def test_a_token_is_used_until_it_is_rejected():
    source = Source("a", "b")
    tokens = Tokens(source)
    first = tokens.get()
    assert tokens.get() == first == Secret("a")
    assert tokens.get(rejected=first) == Secret("b")
    assert tokens.get(rejected=first) == Secret("b"), "a late one that was refused with the old token takes the new"
    assert source.count == 2


def test_failed_token_request_is_shared_by_threads_for_a_few_seconds():
    clock = Clock()
    source = Source(RateLimitError("slow down", retry_after_s=5.0), "a")
    tokens = Tokens(source, clock=clock)
    errors = []
    for _ in range(3):
        with pytest.raises(RateLimitError) as caught:
            tokens.get()
        errors.append(caught.value)
    assert source.count == 1
    assert len({id(error) for error in errors}) == 3
    assert {(str(error), error.retry_after_s) for error in errors} == {("slow down", 5.0)}
    clock.now_s += FAILURE_SHARED_S
    assert tokens.get() == Secret("a")


def test_a_token_that_could_not_be_renewed_is_not_used_again():
    clock = Clock()
    tokens = Tokens(Source("a", AuthError("no"), "b"), clock=clock)
    first = tokens.get()
    with pytest.raises(AuthError):
        tokens.get(rejected=first)
    with pytest.raises(AuthError):
        tokens.get()
    clock.now_s += FAILURE_SHARED_S
    assert tokens.get() == Secret("b")

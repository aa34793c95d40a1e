"""Which addresses get callbacks, and how progress is merged while a receiver is busy."""

from __future__ import annotations

import asyncio
import time

import pytest
from sandbox_process import wait_for

from comflowy_nb.sandbox.server.webhook_sender import WebhookClient, WebhookSender, is_loopback_url


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/a", "http://127.9.9.9/", "http://localhost:1", "http://[::1]:80/x", "https://localhost"],
)
def test_loopback_is_called(url):
    assert is_loopback_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "test_url",
        "",
        "http://",
        "http://192.168.0.1/",
        "http://example.com/",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "http://169.254.169.254/latest",
        "http://0.0.0.0/",
        "http://[::",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1@example.com/",
        "http://example.com@127.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "//127.0.0.1/",
    ],
)
def test_other_addresses_are_not_called(url):
    assert not is_loopback_url(url)


def play(callbacks, scene):
    """Run a script with a webhook sender, in a new event loop."""

    async def main():
        webhooks = WebhookClient()
        await scene(WebhookSender(webhooks, "run", callbacks))
        webhooks.close()

    asyncio.run(main())


async def until(look):
    await asyncio.to_thread(wait_for, look)


def test_a_busy_receiver_gets_fewer_steps_but_always_the_last(slow_receiver):
    async def scene(webhook):
        webhook.send_progress("waiting", {})
        for value in range(100):
            webhook.send_progress("running", {"value": value})
            await asyncio.sleep(0)
        webhook.finish({"type": "success"})
        await until(lambda: slow_receiver.received("/result"))

    play(slow_receiver.callbacks, scene)
    events = slow_receiver.received("/progress")
    assert events[0]["type"] == "waiting"
    assert events[-1]["payload"] == {"value": 99}
    assert len(events) < 5
    assert slow_receiver.bodies[-1] == ("/result", {"type": "success", "run_id": "run"})


def test_a_callback_that_gets_404_is_not_repeated(receiver):
    receiver.answers = [404]

    async def scene(webhook):
        webhook.finish({"type": "success"})
        await until(lambda: receiver.bodies)
        await asyncio.sleep(0.5)  # longer than the delay before a retry

    play({"on_result_url": receiver.url}, scene)
    assert len(receiver.bodies) == 1


def test_redirect_is_not_followed(receiver):
    receiver.answers = [302]

    async def scene(webhook):
        webhook.finish({"type": "success"})
        await until(lambda: receiver.bodies)
        await asyncio.sleep(0.5)

    play({"on_result_url": receiver.url}, scene)
    assert len(receiver.bodies) == 1


def test_progress_is_no_longer_sent_to_a_receiver_that_always_fails(receiver):
    receiver.answers = [500] * 100

    async def scene(webhook):
        for value in range(8):
            webhook.send_progress("message", {"value": value})
        webhook.finish({"type": "success"})
        await until(lambda: receiver.received("/result"))

    play(receiver.callbacks, scene)
    assert len(receiver.received("/progress")) == 3


def test_an_unreachable_receiver_does_not_delay_the_run(receiver):
    receiver.close()
    before = time.monotonic()

    async def scene(webhook):
        webhook.send_progress("waiting", {})
        webhook.finish({"type": "success"})

    play(receiver.callbacks, scene)
    assert time.monotonic() - before < 5

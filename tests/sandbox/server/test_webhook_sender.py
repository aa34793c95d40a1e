"""Only loopback addresses get callbacks, and progress events are merged while a receiver is busy."""

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
def test_loopback_urls_are_accepted(url):
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
def test_urls_of_other_hosts_are_rejected(url):
    assert not is_loopback_url(url)


def run_script(callbacks, script):
    """Run a script with a webhook sender, in a new event loop."""

    async def main():
        webhooks = WebhookClient()
        await script(WebhookSender(webhooks, "run", callbacks))
        webhooks.close()

    asyncio.run(main())


async def wait_until_true(condition):
    await asyncio.to_thread(wait_for, condition)


def test_slow_receiver_gets_fewer_progress_events_but_always_the_last(slow_receiver):
    async def script(webhook):
        webhook.send_progress("waiting", {})
        for value in range(100):
            webhook.send_progress("running", {"value": value})
            await asyncio.sleep(0)
        webhook.finish({"type": "success"})
        await wait_until_true(lambda: slow_receiver.received("/result"))

    run_script(slow_receiver.callbacks, script)
    events = slow_receiver.received("/progress")
    assert events[0]["type"] == "waiting"
    assert events[-1]["payload"] == {"value": 99}
    assert len(events) < 5
    assert slow_receiver.bodies[-1] == ("/result", {"type": "success", "run_id": "run"})


def test_a_callback_that_gets_404_is_not_repeated(receiver):
    receiver.answers = [404]

    async def script(webhook):
        webhook.finish({"type": "success"})
        await wait_until_true(lambda: receiver.bodies)
        await asyncio.sleep(0.5)  # longer than the delay before a retry

    run_script({"on_result_url": receiver.url}, script)
    assert len(receiver.bodies) == 1


def test_redirect_is_not_followed(receiver):
    receiver.answers = [302]

    async def script(webhook):
        webhook.finish({"type": "success"})
        await wait_until_true(lambda: receiver.bodies)
        await asyncio.sleep(0.5)

    run_script({"on_result_url": receiver.url}, script)
    assert len(receiver.bodies) == 1


def test_progress_is_no_longer_sent_to_a_receiver_that_always_fails(receiver):
    receiver.answers = [500] * 100

    async def script(webhook):
        for value in range(8):
            webhook.send_progress("message", {"value": value})
        webhook.finish({"type": "success"})
        await wait_until_true(lambda: receiver.received("/result"))

    run_script(receiver.callbacks, script)
    assert len(receiver.received("/progress")) == 3


def test_an_unreachable_receiver_does_not_delay_the_run(receiver):
    receiver.close()
    before = time.monotonic()

    async def script(webhook):
        webhook.send_progress("waiting", {})
        webhook.finish({"type": "success"})

    run_script(receiver.callbacks, script)
    assert time.monotonic() - before < 5

"""Test webhooks: post an event to the public address from this kernel, and wait for its arrival."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.services.http.client import Http

if TYPE_CHECKING:
    from comflowy_nb.services.comflowy.webhooks import Receiver
    from comflowy_nb.services.http.responses import Failure, Response


TIMEOUT_S = 10.0  # maximum wait for the response


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The result of a test.

    Parameters
    ----------
    seconds
        Until the event arrived, else until the response or the timeout.
    via
        The way on which the event arrived: `server extension` or `direct`. None if it did not arrive.
    response
        The response from the address; None after a timeout, or if the event arrived first.
    """

    seconds: float
    via: str | None = None
    response: Response | Failure | None = None


def try_round_trip(receiver: Receiver) -> RoundTrip:
    """Post an event to the address of the receiver, as a service does. Redirects are not followed."""
    token = f"test-{uuid.uuid4().hex}"
    began_s = time.monotonic()
    responses: list[Response | Failure] = []
    changed = threading.Event()
    arrival = receiver.expect(token, changed)
    path = "/" + receiver.urls(token)["on_progress_event_url"].rpartition("/")[2]

    def post() -> None:
        http = Http(receiver.base_url)
        responses.append(http.exchange("POST", path, body={"type": "message", "payload": "test"}))
        http.close()
        changed.set()

    try:
        threading.Thread(target=post, daemon=True, name="comflowy-webhook-test").start()
        changed.wait(TIMEOUT_S)
        return RoundTrip(time.monotonic() - began_s, arrival.via, next(iter(responses), None))
    finally:
        receiver.forget(token)

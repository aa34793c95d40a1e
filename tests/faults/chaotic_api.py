"""A scripted Comflowy API that fails at random, and records what it accepted and what a client must not submit again.

Each request key has separate random numbers, derived from the seed: a seed repeats the faults of each request in any
order of the threads. The params of a request are `{"3::seed": number}`: `number` identifies the intent.
"""

from __future__ import annotations

import io
import random
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import requests
from faulty_server import (
    FaultyServer,
    choose,
    close_after_reading,
    html,
    no_response,
    redirect,
    reply,
    reset_after_reading,
    send_in_pieces,
    truncated,
)
from PIL import Image
from scripted_api import CHECK, RUN, TOKEN

if TYPE_CHECKING:
    from faulty_server import Answer, Request

IMAGES = "GET /images/*"
UPDATE_S = 0.5  # maximum wait for the response to a webhook

GARBAGE = b'{"success": true, "data": {"run'
# Faults after which a submit may have been accepted, so that it must never be repeated without the user.
UNCLEAR = {
    "closed": lambda body: close_after_reading(),
    "reset": lambda body: reset_after_reading(),
    "500": lambda body: reply({"success": False, "error": "internal error"}, 500),
    "502 html": lambda body: html(502),
    "503 with Retry-After": lambda body: reply({"success": False}, 503, {"Retry-After": "0.05"}),
    "504": lambda body: reply(b"", 504),
    "truncated": truncated,
    "truncated, no length": lambda body: truncated(body, with_length=False),
    "html": lambda body: html(200),
    "garbage": lambda body: reply(GARBAGE),
    "no run id": lambda body: reply({"success": True, "data": {}}),
    "redirect 302": lambda body: redirect("/elsewhere"),
    "redirect 307": lambda body: redirect("/elsewhere", 307),
    "trickle": lambda body: send_in_pieces(body, every_s=0.3),
    "no response": lambda body: no_response(),
}
# Faults that prove that nothing was accepted.
REJECTIONS = {
    "401": lambda: reply({"success": False, "error": "expired"}, 401),
    "429": lambda: reply({"success": False}, 429, {"Retry-After": "0.02"}),
    "400": lambda: reply({"success": False, "error": "no such field"}, 400),
    "success false": lambda: reply({"success": False, "error": "no credit"}),
}
SLOW = {"trickle", "no response"}  # a thread of the client waits for its timeout
READ_FAULTS = [
    name for name in UNCLEAR if name not in SLOW | {"no run id"}
]  # of tokens, checks and images; the slow ones are rare
CONTRADICTIONS = ["waiting", "pending", "running", "a new status"]  # that a service may report after a later status


@dataclass
class Intent:
    """What the service knows about one intent."""

    may_submit: bool = True  # nothing was submitted, or the last submit certainly ended without a result
    submits: int = 0
    run_ids: list[str] = field(default_factory=list)


@dataclass
class AcceptedRun:
    """A run that the service accepted."""

    number: int
    end: str
    checks_until_end: int
    checks: int = 0
    is_reported: bool = False  # its end was reported


def image_of(number: int) -> bytes:
    """Return the image of an intent; each intent has its own pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, number // 256 % 256, number // 65536 % 256)).save(buffer, "PNG")
    return buffer.getvalue()


class ChaoticApi(FaultyServer):
    """The service.

    Parameters
    ----------
    seed
        Determines the faults.
    rate
        Probability of a fault in each response.
    """

    def __init__(self, seed: int | str, *, rate: float = 0.35) -> None:
        super().__init__()
        self.seed = seed
        self.rate = rate
        self.faults: Counter[str] = Counter()  # "submit: closed" -> count
        self.doubled: list[str] = []  # submits that the client must not have sent
        self.redirected: list[str] = []  # requests to the target of a redirect
        self.intents: dict[int, Intent] = defaultdict(Intent)
        self.accepted: dict[str, AcceptedRun] = {}  # run id -> run
        self.webhooks = 0
        self._was_401 = False  # the last read with a fault was answered 401
        self._attempts: Counter[tuple[str, object]] = Counter()
        self._guard = threading.Lock()  # protects the attributes above
        self._senders = ThreadPoolExecutor(2, "webhook-sender")
        self.on(TOKEN, choose(self._token))
        self.on(RUN, choose(self._run))
        self.on(CHECK, choose(self._check))
        self.on(IMAGES, choose(self._image))
        self.on("* /elsewhere", choose(self._redirect_target))

    def calm(self) -> None:
        """Produce no further faults."""
        self.rate = 0.0

    def forget(self) -> None:
        """Forget all requests, as a service that is used for the first time."""
        with self._guard:
            self.intents.clear()
            self.accepted.clear()
        self.reset_counts()

    def close(self) -> None:
        super().close()
        self._senders.shutdown(cancel_futures=True)

    # -- faults ---------------------------------------------------------------------------------------------------

    def _random(self, kind: str, subject: object) -> random.Random:
        """Return the random numbers of the next request of one kind about one subject."""
        self._attempts[kind, subject] += 1
        return random.Random(f"{self.seed} {kind} {subject} {self._attempts[kind, subject]}")

    def _count(self, kind: str, fault: str) -> None:
        self.faults[f"{kind}: {fault}"] += 1

    def _read_fault(self, kind: str, draw: random.Random, body: object) -> Answer | None:
        """Return the fault of a request that only reads, or None."""
        if draw.random() >= self.rate:
            return None
        fault = draw.choice([*READ_FAULTS, "429", "401"]) if draw.random() < 0.99 else draw.choice(sorted(SLOW))
        # A token request has no token, and an image is read without it. A client rests for 30 s after a second 401.
        if fault == "401" and (kind != "check" or self._was_401):
            fault = "429"
        self._was_401 = fault == "401"
        if fault.startswith("redirect") and kind == "image":
            fault = "closed"
        self._count(kind, fault)
        return REJECTIONS[fault]() if fault in REJECTIONS else UNCLEAR[fault](body)

    # -- routes ---------------------------------------------------------------------------------------------------

    def _token(self, request: Request) -> Answer:
        body = {"access_token": "token-of-the-service"}
        if "ppt" not in request.query:  # detection of the kind of service
            return reply({"success": False, "error": "no key"}, 400)
        with self._guard:
            return self._read_fault("token", self._random("token", ""), body) or reply(body)

    def _run(self, request: Request) -> Answer:
        number = request.json["params"]["3::seed"]
        urls = request.json["callback_urls"]
        with self._guard:
            intent = self.intents[number]
            intent.submits += 1
            if not intent.may_submit:
                self.doubled.append(f"intent {number}, submit {intent.submits}")
            draw = self._random("submit", number)
            is_fault = draw.random() < self.rate
            if is_fault and draw.random() < 0.4:
                fault = draw.choice(sorted(REJECTIONS))
                self._count("submit", fault)
                intent.may_submit = True
                return REJECTIONS[fault]()
            intent.may_submit = False
            fault = draw.choice(sorted(UNCLEAR)) if is_fault else ""
            if fault in SLOW and draw.random() < 0.8:
                fault = "closed"
            is_accepted = not is_fault or draw.random() < 0.6
            run_id = f"run-{number}-{intent.submits}"
            if is_accepted:
                end = "failed" if draw.random() < self.rate / 6 else "success"
                self.accepted[run_id] = AcceptedRun(number, end, draw.choice([0, 0, 1, 1, 2]))
                intent.run_ids.append(run_id)
                self._plan_webhooks(draw, urls, run_id, end)
            body = {"success": True, "data": {"run_id": run_id}}
            if not is_fault:
                return reply(body)
            self._count("submit", f"{fault}, {'' if is_accepted else 'not '}accepted")
            return UNCLEAR[fault](body)

    def _check(self, request: Request) -> Answer:
        run_id = request.query["id"]
        with self._guard:
            run = self.accepted.get(run_id)
            if run is None:
                return reply({"success": False, "error": "no such run"}, 404)
            draw = self._random("check", run_id)
            body = {"success": True, "data": self._state(run, draw)}
            if self.rate and draw.random() < 0.02:
                self._count("check", "404")
                return reply({"success": False, "error": "no such run"}, 404)
            fault = self._read_fault("check", draw, body)
            if fault is None and body["data"]["status"] == run.end:
                run.is_reported = True
                if run.end == "failed":  # the request may be submitted again
                    self.intents[run.number].may_submit = True
            return fault or reply(body)

    def _state(self, run: AcceptedRun, draw: random.Random) -> dict[str, object]:
        run.checks += 1
        if run.checks <= run.checks_until_end:
            return {"status": draw.choice(["waiting", "pending", "running"]), "output_images": [], "full_outputs": {}}
        if run.is_reported and self.rate and draw.random() < 0.3:
            self._count("check", "contradiction")
            return {"status": draw.choice(CONTRADICTIONS), "output_images": [], "full_outputs": {}}
        if run.end == "failed":
            return {"status": "failed", "error": "out of memory"}
        url = f"{self.url}/images/{run.number}.png"
        return {"status": "success", "output_images": [url], "full_outputs": {"9": {"images": [url]}}}

    def _image(self, request: Request) -> Answer:
        number = int(request.path.rpartition("/")[2].removesuffix(".png"))
        content = image_of(number)
        with self._guard:
            draw = self._random("image", number)
            if draw.random() < self.rate / 4:
                self._count("image", "flipped bit")
                position = draw.randrange(20, len(content))
                damaged = bytes([*content[:position], content[position] ^ 0x10, *content[position + 1 :]])
                return reply(damaged, headers={"Content-Type": "image/png"})
            fault = self._read_fault("image", draw, content)
            if draw.random() < self.rate / 10:
                self._count("image", "redirect")
                return redirect(f"{self.url}{request.path}")  # a redirect of an image is followed, at most 3 times
            return fault or reply(content, headers={"Content-Type": "image/png"})

    def _redirect_target(self, request: Request) -> Answer:
        with self._guard:
            self.redirected.append(f"{request.method} {request.path}")
        return reply({})

    # -- webhooks -------------------------------------------------------------------------------------------------

    def _plan_webhooks(self, draw: random.Random, urls: dict[str, str], run_id: str, end: str) -> None:
        """Send events of a run: before or after the response, twice, or not at all; some are wrong."""
        if not self.rate:
            return
        for _ in range(draw.choice([0, 0, 1, 2])):
            kind = draw.choice([end, end, "running", "failed", "message", "nonsense"])
            self.webhooks += 1
            with suppress(RuntimeError):  # the server is being closed
                self._senders.submit(self._send, urls["on_result_url"], {"type": kind, "run_id": run_id})

    @staticmethod
    def _send(url: str, event: dict[str, str]) -> None:
        with suppress(requests.RequestException):
            requests.post(url, json=event, timeout=UPDATE_S)

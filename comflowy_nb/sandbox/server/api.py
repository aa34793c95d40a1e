"""The Comflowy open API v0 over HTTP, and what the sandbox adds to it."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from tornado.web import Application

from comflowy_nb.sandbox.engine.inputs import keep_input
from comflowy_nb.sandbox.server.routes import MIB, Nowhere, Refusal, Route, read_json, read_object
from comflowy_nb.sandbox.server.run_queue import Cancelling
from comflowy_nb.sandbox.server.workflows import describe, graph_of, workflow_ids

if TYPE_CHECKING:
    from comflowy_nb.sandbox.server.routes import House

__all__ = ["BODY_MAX_BYTES", "make_application"]

_UPLOAD_MAX_BYTES = 32 * MIB
BODY_MAX_BYTES = 2 * _UPLOAD_MAX_BYTES  # what is read before a size is refused in words
_CHUNK_BYTES = 256 * 1024
_NONCE_MAX = 200


def make_application(house: House) -> Application:
    routes: list[tuple[str, type[Route]]] = [
        (r"/api/open/v0/ping", _Ping),
        (r"/api/open/v0/auth/token", _Token),
        (r"/api/open/v0/run", _Run),
        (r"/api/open/v0/check", _Check),
        (r"/api/open/v0/cancel", _Cancel),
        (r"/api/open/v0/workflows", _Workflows),
        (r"/api/open/v0/workflows/([^/]+)", _Workflow),
        (r"/upload/image", _Upload),
        (r"/images/([\w-]+)\.png", _Image),
    ]
    return Application(
        [(path, route, {"house": house}) for path, route in routes],
        default_handler_class=Nowhere,
        default_handler_args={"house": house},
        # Addresses hold the key (`?ppt=`) and image secrets: no request is written to the log.
        log_function=lambda _handler: None,
    )


class _Ping(Route):
    """Whether this is the sandbox of a key, shown without the key: a stranger may have taken the port."""

    needs_token = False

    def get(self) -> None:
        nonce = self.get_query_argument("nonce", "")
        if len(nonce) > _NONCE_MAX:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the nonce is too long")
        if self.get_query_argument("stay", ""):
            self.house.on_stay()
        self.answer({"service": "comflowy_nb sandbox", "pid": os.getpid(), "proof": self.house.door.prove(nonce)})


class _Token(Route):
    needs_token = False

    def get(self) -> None:
        token = self.house.door.token_for(self.get_query_argument("ppt", "", strip=False))
        if token is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the API key is missing or wrong")
        self.finish({"access_token": token})


class _Run(Route):
    def post(self) -> None:
        body = read_json(self.request)
        workflow_id = body.get("workflow_id")
        if not isinstance(workflow_id, str):
            raise Refusal(HTTPStatus.BAD_REQUEST, "workflow_id must be a text")
        if graph_of(workflow_id) is None:
            words = f"there is no workflow {workflow_id!r} here; there are {', '.join(workflow_ids())}"
            raise Refusal(HTTPStatus.NOT_FOUND, words)
        params = read_object(body, "params")
        callbacks = read_object(body, "callback_urls")
        if not all(isinstance(url, str) for url in callbacks.values()):
            raise Refusal(HTTPStatus.BAD_REQUEST, "callback_urls must hold texts")
        self.answer({"run_id": self.house.runs.accept(workflow_id, params, callbacks)})


class _Check(Route):
    def post(self) -> None:
        data = self.house.runs.check(self.read_id(), self.base_url)
        if data is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such run")
        self.answer(data)


class _Cancel(Route):
    def post(self) -> None:
        run_id = self.read_id()
        match self.house.runs.cancel(run_id):
            case Cancelling.DONE:
                self.answer({"run_id": run_id, "cancelled": True})
            case Cancelling.TOO_LATE:
                raise Refusal(HTTPStatus.CONFLICT, "the run has ended already")
            case Cancelling.NO_SUCH_RUN:
                raise Refusal(HTTPStatus.NOT_FOUND, "there is no such run")


class _Workflows(Route):
    def get(self) -> None:
        self.answer([{"id": name, "name": name} for name in workflow_ids()])


class _Workflow(Route):
    async def get(self, workflow_id: str) -> None:
        graph = graph_of(workflow_id)
        if graph is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such workflow")
        object_info = await self.house.crew.read_object_info()
        if object_info is None:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "no worker could start; sandbox.log says why")
        self.answer({"id": workflow_id, "name": workflow_id, **describe(graph, object_info)})


class _Upload(Route):
    """As ComfyUI's route of the same name, but for the token, and its own choice of the name."""

    body_max_bytes = _UPLOAD_MAX_BYTES

    def post(self) -> None:
        files = self.request.files.get("image", [])
        if len(files) != 1 or not files[0].body:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the form needs one file named image")
        if self.get_body_argument("type", "input") != "input" or self.get_body_argument("subfolder", ""):
            raise Refusal(HTTPStatus.BAD_REQUEST, "the sandbox takes uploads of type input, without a subfolder")
        self.finish({"name": keep_input(self.house.places.inputs, files[0].body), "subfolder": "", "type": "input"})


class _Image(Route):
    """A finished image. Its address is its secret, so that it can be fetched without a token, as signed ones are."""

    needs_token = False

    async def get(self, secret: str) -> None:
        image = self.house.store.image(secret)
        if image is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such image")
        path = self.house.places.images / image.file
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise Refusal(HTTPStatus.GONE, "the sandbox no longer has this image") from None
        with file:
            self.set_header("Content-Type", "image/png")
            self.set_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.set_header("Content-Disposition", f'inline; filename="{quote(image.file)}"')
            if self.request.method == "HEAD":
                self.finish()
                return
            while chunk := file.read(_CHUNK_BYTES):
                self.write(chunk)
                await self.flush()
        self.finish()

    head = get

"""A minimal ComfyUI client: submit, wait for the end, fetch the image."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack

import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

__all__ = ["BareClient", "empty_image", "empty_node", "save_node"]


class BareClient:
    """One socket, one session, one run at a time. `flag` requests previews with metadata."""

    def __init__(self, url, *, flag=False, client_id=None):
        self.url = url
        self.client_id = client_id or uuid.uuid4().hex
        self.session = requests.Session()
        self.session.trust_env = False
        self._open = ExitStack()
        address = f"ws{url.removeprefix('http')}/ws?clientId={self.client_id}"
        self.socket = self._open.enter_context(
            connect(address, max_size=2**26, proxy=None, compression=None, close_timeout=0.2)
        )
        self.first = self.receive()
        if flag:
            self.socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
            self.features = self.receive()

    def receive(self, timeout=60):
        message = self.socket.recv(timeout=timeout)
        return message if isinstance(message, bytes) else json.loads(message)

    def submit(self, graph, **body):
        """Submit a graph; return the response and the prompt id."""
        prompt_id = body.pop("prompt_id", None) or str(uuid.uuid4())
        request = {"prompt": graph, "client_id": self.client_id, "prompt_id": prompt_id} | body
        return self.session.post(f"{self.url}/prompt", json=request), prompt_id

    def until_end(self, prompt_id):
        """Return all messages up to and including the one that ends the run."""
        messages = []
        while True:
            message = self.receive()
            messages.append(message)
            if isinstance(message, dict) and message["type"] == "executing":
                data = message["data"]
                if data.get("node") is None and data.get("prompt_id") == prompt_id:
                    return messages

    def until_quiet(self, timeout=60):
        """Return all messages until the socket closes or a timeout, and which of both happened."""
        messages = []
        while True:
            try:
                messages.append(self.receive(timeout))
            except (ConnectionClosed, TimeoutError) as error:
                return messages, type(error)

    def run(self, graph, **body):
        answer, prompt_id = self.submit(graph, **body)
        assert answer.status_code == 200, answer.text
        return self.until_end(prompt_id), prompt_id

    def image(self, messages):
        """Return the bytes of the first image in the messages."""
        output = next(
            message["data"]["output"]
            for message in messages
            if isinstance(message, dict) and message["type"] == "executed"
        )
        return self.session.get(f"{self.url}/view", params=output["images"][0]).content

    def history(self, prompt_id):
        return self.session.get(f"{self.url}/history/{prompt_id}").json()

    def close(self):
        self._open.close()
        self.session.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def empty_image(color=0, size=64, *, prefix="empty"):
    """Return the smallest graph that makes an image."""
    return {
        "1": empty_node(color, width=size, height=size),
        "2": save_node("1", prefix=prefix),
    }


def empty_node(color, count=1, *, width=64, height=64):
    """Return a node that makes images of one colour, without a model."""
    inputs = {"width": width, "height": height, "batch_size": count, "color": color}
    return {"class_type": "EmptyImage", "inputs": inputs}


def save_node(node, *, prefix=None):
    """Return a node that saves the images of another node."""
    return {"class_type": "SaveImage", "inputs": {"images": [node, 0], "filename_prefix": prefix or f"of{node}"}}

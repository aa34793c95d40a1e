"""The queue, the worker thread and the history of the scripted ComfyUI server, with the order of its events."""

from __future__ import annotations

import hashlib
import heapq
import json
import struct
import threading
import time

import numpy as np
from comfyui_nodes import animation, as_pixels, is_link, order_of, paint, png, preview, to_image
from PIL import Image, ImageFilter


class InterruptedRun(Exception):
    pass


class NodeFailed(Exception):
    """The exception of a node, as the server reports it."""


class Queue:
    """Execute prompts one by one on a thread; pass events to `send(client id or None, message)`."""

    def __init__(self, server):
        self.server = server
        self.changed = threading.Condition()
        self.pending = []
        self.running = None
        self.history = {}
        self.counter = 0
        self.cache = {}
        self.saved = 0
        self.interrupts = set()
        self.most_pending = 0  # the maximum so far, without the running prompt
        self.closed = False
        self.alive = True  # False: the worker has died, and submits are still accepted
        self.thread = threading.Thread(target=self._work, name="comfyui-worker", daemon=True)
        self.thread.start()

    # -- calls of the routes ------------------------------------------------------------------------------------

    def put(self, body, outputs):
        with self.changed:
            number = -self.counter if body.get("front") else self.counter
            if "number" in body:
                number = float(body["number"])
            self.counter += 1
            prompt_id = str(body.get("prompt_id")) if "prompt_id" in body else f"server-{self.counter}"
            extra = dict(body.get("extra_data") or {})
            if "client_id" in body:
                extra["client_id"] = body["client_id"]
            item = [number, prompt_id, body["prompt"], extra, outputs]
            heapq.heappush(self.pending, (number, self.counter, item))
            self.most_pending = max(self.most_pending, len(self.pending))
            self.send_status()
            self.changed.notify_all()
        return number, prompt_id

    def listed(self):
        with self.changed:
            running = [] if self.running is None else [self.running]
            return {"queue_running": running, "queue_pending": [item for _, _, item in self.pending]}

    def remaining(self):
        return len(self.pending) + (self.running is not None)

    def delete(self, prompt_ids):
        with self.changed:
            for prompt_id in prompt_ids:
                entry_found = next((entry for entry in self.pending if entry[2][1] == prompt_id), None)
                if entry_found is not None:
                    self.pending.remove(entry_found)
                    heapq.heapify(self.pending)
            self.send_status()

    def interrupt(self, prompt_id):
        with self.changed:
            if self.running is not None and prompt_id in {None, self.running[1]}:
                self.interrupts.add(self.running[1])
                self.changed.notify_all()

    def restart(self):
        """Lose everything that is only in memory."""
        with self.changed:
            self.pending, self.history, self.cache = [], {}, {}
            if self.running is not None:
                self.interrupts.add(self.running[1])
            self.changed.notify_all()
        self.wait_idle()
        self.history = {}

    def wait_idle(self):
        with self.changed:
            assert self.changed.wait_for(lambda: self.running is None, timeout=60)

    def close(self):
        with self.changed:
            self.closed = True
            if self.running is not None:
                self.interrupts.add(self.running[1])
            self.changed.notify_all()
        self.thread.join(60)

    # -- the worker ---------------------------------------------------------------------------------------------

    def send_status(self):
        self.server.send(None, "status", {"status": {"exec_info": {"queue_remaining": self.remaining()}}})

    def _work(self):
        while True:
            with self.changed:
                ready = self.changed.wait_for(
                    lambda: self.closed or (self.alive and self.pending and not self.server.held)
                )
                if self.closed or not ready:
                    return
                _, _, item = heapq.heappop(self.pending)
                self.running = item
                self.send_status()
            _Execution(self, item).run()

    def keep(self, item, entry):
        """Move a run from the queue to the history in one step."""
        with self.changed:
            self.history[item[1]] = entry
            self.running = None
            self.interrupts.discard(item[1])
            self.send_status()
            self.changed.notify_all()


class _Execution:
    """One prompt in the queue or being executed."""

    def __init__(self, queue, item):
        self.queue, self.server, self.item = queue, queue.server, item
        _, self.prompt_id, self.graph, self.extra, self.outputs = item
        self.client = self.extra.get("client_id")
        self.states, self.values, self.ui, self.done, self.messages = {}, {}, {}, [], []

    def send_event(self, kind, **data):
        # without a client only these are sent, and to every socket
        if self.client is None and kind not in {"progress_state", "progress", "execution_interrupted"}:
            return
        self.server.send(self.client, kind, data)

    def note(self, kind, **data):
        data |= {"prompt_id": self.prompt_id}
        if kind not in {"execution_error", "execution_interrupted"} or "timestamp" not in data:
            data["timestamp"] = int(time.time() * 1000)
        self.messages.append([kind, data])
        self.send_event(kind, **data)

    def run(self):
        node_id, good = None, False
        self.note("execution_start")
        order = order_of(self.graph, self.outputs)
        cache = self.queue.cache
        cache_keys = {}
        for node_id in order:
            cache_keys[node_id] = self._cache_key(node_id, cache_keys)
        cached = [node_id for node_id in self.graph if node_id in cache_keys and cache_keys[node_id] in cache]
        self.note("execution_cached", nodes=cached)
        try:
            for node_id in order:
                if node_id in cached:
                    self._from_cache(node_id, cache[cache_keys[node_id]])
                else:
                    self._execute(node_id)
            good = True
        except InterruptedRun:
            node_type = self.graph[node_id]["class_type"]
            self.note("execution_interrupted", node_id=node_id, node_type=node_type, executed=list(self.done))
        except Exception as error:
            self._failed(node_id, error)
        if good:
            self.note("execution_success")
        self.queue.cache = {
            cache_keys[node_id]: (self.values.get(node_id), self.ui.get(node_id))
            for node_id in order
            if node_id in self.values
        }
        self._keep(good)

    def _keep(self, good):
        status = {"status_str": "success" if good else "error", "completed": good, "messages": self.messages}
        meta = {
            node_id: {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
            for node_id in self.ui
        }
        entry = {"prompt": self.item, "outputs": self.ui, "status": status, "meta": meta}
        self.server.at_end(self.prompt_id)
        self.queue.keep(self.item, entry)
        self.send_event("executing", node=None, prompt_id=self.prompt_id)
        self.server.note_end(self.prompt_id)

    def _failed(self, node_id, error):
        message = str(error)
        self.note(
            "execution_error",
            node_id=node_id,
            node_type=self.graph[node_id]["class_type"],
            executed=list(self.done),
            exception_message=f"{message}\n",
            exception_type="PIL.UnidentifiedImageError" if "identify" in message else type(error).__name__,
            traceback=['  File "/comfyui/execution.py", line 496, in execute\n'],
            current_inputs={
                name: [value] for name, value in self.graph[node_id]["inputs"].items() if not is_link(value)
            },
            current_outputs=list(self.graph),
        )

    def _cache_key(self, node_id, cache_keys):
        inputs = {
            name: [cache_keys[value[0]], value[1]] if is_link(value) else value
            for name, value in self.graph[node_id]["inputs"].items()
        }
        text = json.dumps([self.graph[node_id]["class_type"], inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _from_cache(self, node_id, kept):
        self.values[node_id], ui = kept
        if ui is not None:
            self._show(node_id, ui)
            self._progress(node_id, 1, 1, "finished")

    def _execute(self, node_id):
        self._stop_if_interrupted()
        self._progress(node_id, 0.0, 1.0, "running")
        self.send_event("executing", node=node_id, display_node=node_id, prompt_id=self.prompt_id)
        self.server.at_node(self, node_id)
        self._stop_if_interrupted()
        node = self.graph[node_id]
        arguments = {
            name: self.values[value[0]][value[1]] if is_link(value) else value for name, value in node["inputs"].items()
        }
        result = getattr(self, f"_{node['class_type']}")(node_id, **arguments)
        if isinstance(result, dict):
            self.values[node_id] = ()
            self._show(node_id, result)
        else:
            self.values[node_id] = result
        self.done.append(node_id)
        before = self.states.get(node_id, {"value": 0.0, "max": 1.0})
        value = before["max"] if before["max"] != 1.0 else 1.0
        self._progress(node_id, value, before["max"], "finished")

    def _stop_if_interrupted(self):
        if self.prompt_id in self.queue.interrupts:
            raise InterruptedRun

    def _progress(self, node_id, value, most, state):
        self.states[node_id] = {
            "value": value, "max": most, "state": state, "node_id": node_id, "prompt_id": self.prompt_id,
            "display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id,
        }  # fmt: skip
        self.send_event("progress_state", prompt_id=self.prompt_id, nodes=dict(self.states))

    def _show(self, node_id, ui):
        if not ui:
            return
        self.ui[node_id] = ui
        self.send_event("executed", node=node_id, display_node=node_id, output=ui, prompt_id=self.prompt_id)

    def _step(self, node_id, step, steps, pixels):
        self._stop_if_interrupted()
        self._progress(node_id, step, steps, "running")
        light = 0.2 + 0.8 * step / steps  # previews start dark
        self._send_step(node_id, step, steps, preview(pixels * light) if self.server.previews else None, "jpeg")
        self.server.at_step(self, node_id, step)

    def _send_step(self, node_id, step, steps, image, kind):
        """Send the `progress` of a node and its preview (before it, with ids, if the client set the flag)."""
        flagged = self.server.has_flag(self.client)
        if flagged and image:
            about = {"node_id": node_id, "prompt_id": self.prompt_id, "display_node_id": node_id}
            about |= {"parent_node_id": None, "real_node_id": node_id, "image_type": f"image/{kind}"}
            head = json.dumps(about).encode()
            self.server.send_frame(self.client, struct.pack(">II", 4, len(head)) + head + image)
        self.send_event("progress", value=step, max=steps, prompt_id=self.prompt_id, node=node_id)
        if image and not flagged:
            self.server.send_frame(self.client, struct.pack(">II", 1, 1 if kind == "jpeg" else 2) + image)

    # -- the nodes ----------------------------------------------------------------------------------------------

    def _CheckpointLoaderSimple(self, node_id, ckpt_name):  # noqa: N802
        return ("model", "clip", "vae")

    def _LoraLoader(self, node_id, model, clip, **values):  # noqa: N802
        return (model, f"{clip} {values['lora_name']} {values['strength_clip']}")

    def _CLIPTextEncode(self, node_id, text, clip):  # noqa: N802
        return (f"{text} {clip}",)

    def _EmptyLatentImage(self, node_id, width, height, batch_size):  # noqa: N802
        return ({"width": width, "height": height, "batch": batch_size},)

    def _KSampler(self, node_id, latent_image, **values):  # noqa: N802
        prompts = f"{values['positive']}|{values['negative']}"
        steps, seed = values["steps"], values["seed"]
        images = [
            paint(latent_image, prompts, seed=seed + number, steps=steps, cfg=values["cfg"])
            for number in range(latent_image["batch"])
        ]
        for step in range(1, steps + 1):
            self._step(node_id, step, steps, images[0])
        return (images,)

    def _VAEDecode(self, node_id, samples, vae):  # noqa: N802
        return (samples,)

    def _EmptyImage(self, node_id, width, height, batch_size, color):  # noqa: N802
        shade = as_pixels([color >> 16 & 255, color >> 8 & 255, color & 255])
        return ([np.broadcast_to(shade, (height, width, 3))] * batch_size,)

    def _PickWords(self, node_id, words):  # noqa: N802
        colours = {"red": (255, 0, 0), "green, dark": (0, 99, 0), "blue": (0, 0, 255), "7": (7, 7, 7)}
        chosen = words["__value__"] if isinstance(words, dict) else [words]
        shade = np.clip(np.sum([colours[name] for name in chosen], axis=0), 0, 255) if chosen else np.zeros(3)
        return ([np.broadcast_to(as_pixels(shade), (8, 8, 3))],)

    def _GetImageSize(self, node_id, image):  # noqa: N802
        height, width = image[0].shape[:2]
        shape = f"width: {width}, height: {height}\n batch size: {len(image)}"
        head = node_id.encode()
        self.server.send_frame(self.client, struct.pack(">II", 3, len(head)) + head + shape.encode())
        return (str(width), str(height), str(len(image)))

    def _LoadImage(self, node_id, image):  # noqa: N802
        try:
            opened_image = Image.open(self.server.inputs / image).convert("RGB")
        except OSError:
            raise NodeFailed(f"cannot identify image file '/comfyui/input/{image}'") from None
        return ([as_pixels(opened_image)],)

    def _ImageInvert(self, node_id, image):  # noqa: N802
        return ([1 - pixels for pixels in image],)

    def _ImageBlur(self, node_id, image, blur_radius, sigma):  # noqa: N802
        blur = ImageFilter.GaussianBlur(sigma)
        return ([as_pixels(to_image(pixels).filter(blur)) for pixels in image],)

    def _ImageScaleBy(self, node_id, image, upscale_method, scale_by):  # noqa: N802
        sizes = [(round(pixels.shape[1] * scale_by), round(pixels.shape[0] * scale_by)) for pixels in image]
        way = Image.Resampling.NEAREST if upscale_method == "nearest-exact" else Image.Resampling.BICUBIC
        return ([as_pixels(to_image(item).resize(size, way)) for item, size in zip(image, sizes, strict=True)],)

    def _png(self, pixels):
        return png(pixels, self.graph, self.extra) if self.server.metadata else png(pixels, None, {})

    def _SaveImage(self, node_id, images, filename_prefix):  # noqa: N802
        folder, _, prefix = filename_prefix.rpartition("/")
        return {"images": [self._file(self._png(image), "output", folder, prefix) for image in images]}

    def _PreviewImage(self, node_id, images):  # noqa: N802
        return {"images": [self._file(self._png(image), "temp", "", "ComfyUI_temp") for image in images]}

    def _SaveAnimatedWEBP(self, node_id, images, filename_prefix):  # noqa: N802
        result = animation([*images, *(1 - image for image in images)])
        return {"images": [self._file(result, "output", "", filename_prefix, "webp")], "animated": [True]}

    def _SaveAudio(self, node_id, seconds):  # noqa: N802
        rate = 8000
        wave = (np.sin(np.arange(int(rate * seconds)) / 4) * 20000).astype("<i2").tobytes()
        head = (
            b"RIFF"
            + struct.pack("<I", 36 + len(wave))
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
        )
        result = head + b"data" + struct.pack("<I", len(wave)) + wave
        return {"audio": [self._file(result, "output", "", "audio", "wav")]}

    def _PreviewAny(self, node_id, source):  # noqa: N802
        return {"text": [source if isinstance(source, str) else "an image"]}

    def _SaveImageWebsocket(self, node_id, images):  # noqa: N802
        for number, image in enumerate(images, 1):
            self._progress(node_id, number, len(images), "running")
            self._send_step(node_id, number, len(images), png(image, {}, {}), "png")
            self.server.at_step(self, node_id, number)
        return {}

    def _file(self, content, kind, folder, prefix, extension="png"):
        self.queue.saved += 1
        name = f"{prefix}_{self.queue.saved:05}_.{extension}"
        target_folder = self.server.folder / kind / folder
        target_folder.mkdir(parents=True, exist_ok=True)
        (target_folder / name).write_bytes(content)
        return {"filename": name, "subfolder": folder, "type": kind}

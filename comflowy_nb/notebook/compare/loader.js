// Requests images of a comparison from the kernel, and keeps the object URLs of those that arrived.

import { ImageCache, nameView, SLOW_MS } from "../widgets/shared.js";

const MAX_CACHED_BYTES = 96e6; // of images that are not shown, so that going back requests nothing

const keyOf = (request) => `${request.ask}-${request.pair ? request.pair.join("-") : request.index}`;

/** Requests one image at a time. */
export class ImageLoader {
  constructor(model, onChange) {
    this.model = model;
    this.onChange = onChange;
    this.view = nameView();
    this.loaded = new ImageCache(MAX_CACHED_BYTES);
    this.needed = [];
    this.pending = null;
    this.isSlow = false;
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
  }

  /** Set the requests of the shown images, the most urgent first. */
  need(list) {
    this.needed = list;
    this.loaded.trim(new Set(list.map(keyOf)));
    this.pump();
  }

  get(request) {
    return this.loaded.get(keyOf(request));
  }

  pump() {
    if (this.pending) return;
    const next = this.needed.find((request) => !this.loaded.has(keyOf(request)));
    if (!next) return;
    this.pending = next;
    this.timer = setTimeout(() => {
      this.isSlow = true;
      this.onChange();
    }, SLOW_MS);
    this.model.send({ ...next, view: this.view });
  }

  receive(reply, buffers) {
    if (reply?.to?.view !== this.view) return;
    clearTimeout(this.timer);
    this.isSlow = false;
    this.pending = null;
    const { to, ...details } = reply;
    const [content] = buffers ?? [];
    this.loaded.put(keyOf(to), details, content);
    this.onChange();
    this.pump();
  }

  close() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.receive);
    this.needed = [];
    this.loaded.close();
  }
}

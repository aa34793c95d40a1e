// The requests of an explorer to Python: the document, images, ratings, submits. Requests wait while the kernel is busy.
// The explorer keeps working after the kernel has ended.

import { ImageCache, nameView, SLOW_MS } from "../widgets/shared.js";

const BATCH = 32; // thumbnails in one request
const MAX_ENLARGED_THUMB = 1.25;
const MAX_IDLE_THUMBS = 600;
const MAX_IDLE_THUMB_BYTES = 48e6; // cache of hidden thumbnails, to show them without a kernel
const MAX_IDLE_FULL_BYTES = 96e6;
const FULL_DELAY_MS = 150; // delay before a full image is requested
const DISCONNECTED = "jupyter-widgets-disconnected"; // ipywidgets sets this class when the kernel is disconnected

/** Sends requests and keeps those without a reply. `onChange` is called when the kernel becomes busy, free, or ends. */
export class Kernel {
  constructor(model, el, { onChange, onUpdate }) {
    this.model = model;
    this.el = el;
    this.onChange = onChange;
    this.onUpdate = onUpdate;
    this.view = nameView();
    this.number = 0;
    this.waiting = new Map(); // number of a request -> callback for its reply
    this.isBusy = false;
    this.isClosed = false;
    this.receive = this.receive.bind(this);
    this.notice = this.notice.bind(this);
    model.on("msg:custom", this.receive);
    model.on("comm_live_update", this.notice);
  }

  /** Whether there is no kernel: it ended, restarted, or the notebook was opened without one. */
  get isGone() {
    return this.hasFailed || this.el.closest(`.${DISCONNECTED}`) !== null;
  }

  /** Send a request. `act` is called with its reply and buffers. */
  send(request, act) {
    this.number += 1;
    const number = this.number;
    this.waiting.set(number, act);
    this.watch();
    try {
      this.model.send({ ...request, view: this.view, n: number });
    } catch {
      this.hasFailed = true; // the connection is closed
      this.onChange();
    }
    return number;
  }

  receive(message, buffers) {
    if (message?.update) this.onUpdate(message.update);
    const number = message?.to?.n;
    if (message?.to?.view !== this.view || !this.waiting.has(number)) return;
    const act = this.waiting.get(number);
    this.waiting.delete(number);
    this.hasFailed = false;
    const wasBusy = this.isBusy;
    this.isBusy = false;
    this.stopWatch();
    this.watch();
    const { to, ...reply } = message;
    act(reply, buffers ?? []);
    if (wasBusy) this.onChange();
  }

  /** Report the kernel as busy if it does not reply for some time. Each reply restarts the timer. */
  watch() {
    if (!this.waiting.size) return;
    this.timer ??= setTimeout(() => {
      this.isBusy = true;
      this.onChange();
    }, SLOW_MS);
  }

  stopWatch() {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** The kernel ended or came back. The class of the element is set after this event. */
  notice() {
    setTimeout(() => {
      this.hasFailed = false;
      this.isBusy = false;
      if (!this.isClosed) this.onChange();
    });
  }

  /** Drop the requests to a kernel that has ended. */
  forget() {
    this.stopWatch();
    this.waiting.clear();
  }

  close() {
    this.isClosed = true;
    this.forget();
    this.model.off("msg:custom", this.receive);
    this.model.off("comm_live_update", this.notice);
  }
}

/** Loads thumbnails and full images while they are shown. */
export class Images {
  constructor(kernel, onChange) {
    this.kernel = kernel;
    this.onChange = onChange;
    this.thumbs = new ImageCache(MAX_IDLE_THUMB_BYTES, MAX_IDLE_THUMBS);
    this.fulls = new ImageCache(MAX_IDLE_FULL_BYTES);
    this.neededThumbs = [];
    this.neededFulls = [];
    this.sizes = []; // of thumbnails in pixels, the smallest first; the document has them
    this.isAskingThumbs = false;
    this.isAskingFull = false;
  }

  /** Return the loaded thumbnail of an image, else its full image. */
  get(key) {
    const thumb = this.thumbs.get(key);
    return thumb?.url ? thumb : (this.fulls.get(key) ?? thumb);
  }

  /**
   * Set the keys of the images to load, the most urgent first, and the size of thumbnails in pixels.
   *
   * `isQuick`: the user steps quickly, so full images are not requested.
   */
  need(thumbs, fulls, { px = 0, isQuick = false } = {}) {
    const [small, large] = this.sizes;
    this.side = px > small * MAX_ENLARGED_THUMB ? large : small;
    this.neededThumbs = [...new Set(thumbs)];
    this.neededFulls = [...new Set(fulls)];
    this.thumbs.trim(new Set(this.neededThumbs));
    this.fulls.trim(new Set(fulls));
    this.askThumbs();
    clearTimeout(this.timer);
    if (!isQuick && fulls.length) this.timer = setTimeout(() => this.askFull(), FULL_DELAY_MS);
  }

  /** The kernel is available again: requests to the previous kernel get no reply. */
  restart() {
    this.isAskingThumbs = false;
    this.isAskingFull = false;
  }

  askThumbs() {
    if (this.isAskingThumbs || this.kernel.isGone) return;
    const { side } = this;
    const isThere = (key) => this.thumbs.get(key)?.side >= side;
    const images = this.neededThumbs.filter((key) => !isThere(key)).slice(0, BATCH);
    if (!images.length) return;
    this.isAskingThumbs = true;
    this.kernel.send({ ask: "thumbs", images, side }, (reply, buffers) => {
      this.isAskingThumbs = false;
      const { kinds = [], urls = [], missing = images, problem = "it has no thumbnail" } = reply;
      const found = images.filter((key) => !missing.includes(key));
      for (const [index, key] of found.entries()) {
        this.thumbs.put(key, { kind: kinds[index], url: urls[index], side }, buffers[index]);
      }
      for (const key of missing) this.thumbs.put(key, { problem, side });
      this.onChange();
      this.askThumbs();
    });
  }

  askFull() {
    if (this.isAskingFull || this.kernel.isGone) return;
    const image = this.neededFulls.find((key) => !this.fulls.has(key));
    if (image === undefined) return;
    this.isAskingFull = true;
    this.kernel.send({ ask: "full", image }, (reply, [content]) => {
      this.isAskingFull = false;
      this.fulls.put(image, reply, content);
      this.onChange();
      this.askFull();
    });
  }

  close() {
    clearTimeout(this.timer);
    this.neededThumbs = [];
    this.neededFulls = [];
    this.thumbs.close();
    this.fulls.close();
  }
}

/** The user's ratings: shown at once, sent to Python, and kept until Python has stored them. */
export class Ratings {
  constructor(kernel, state, { isOffline, onChange }) {
    this.kernel = kernel;
    this.state = state;
    this.isOffline = isOffline; // a saved page has no kernel: ratings are kept for the download
    this.onChange = onChange;
    this.unsaved = new Map(); // key of an image -> its rating, rejected, note, and the number of the last request
    this.problems = new Map();
    this.undone = [];
  }

  /** Change the rating of an image; `changes` holds rating (0 to 5), rejected or note. */
  rate(image, changes, { place } = {}) {
    const before = { rating: image.rating, rejected: image.rejected, note: image.note };
    if (place) this.undone.push({ key: image.key, before, place });
    this.put(image.key, { ...before, ...changes });
  }

  /** Undo the last change, and return its combination. */
  undo() {
    const last = this.undone.pop();
    if (!last) return null;
    this.put(last.key, last.before);
    return last.place;
  }

  put(key, { rating, rejected, note }) {
    const value = { rating: rating || null, rejected: Boolean(rejected), note: note ?? "" };
    this.unsaved.set(key, value);
    this.problems.delete(key);
    this.show();
    this.send(key);
  }

  send(key) {
    if (this.isOffline || this.kernel.isGone) {
      this.onChange();
      return;
    }
    const value = this.unsaved.get(key);
    const number = this.kernel.number + 1;
    value.number = number;
    const rate = { image: key, rating: value.rating ?? 0, rejected: value.rejected, note: value.note, number };
    this.kernel.send({ rate }, (reply) => {
      const isLast = this.unsaved.get(key)?.number === number;
      if (isLast && reply.problem) this.problems.set(key, reply.problem);
      else if (isLast) {
        this.unsaved.delete(key);
        this.state.imagesByKey.get(key)?.forEach((image) => {
          Object.assign(image, reply.image ?? {});
        });
      }
      this.resend(number);
      this.onChange();
    });
    this.onChange();
  }

  /** Send all unsaved ratings: the kernel is available again. */
  sendAll() {
    for (const key of this.unsaved.keys()) this.send(key);
  }

  /** Load the ratings that the browser stored at an earlier visit of a page. */
  restore(kept) {
    for (const [key, value] of Object.entries(kept ?? {})) {
      if (this.state.imagesByKey.has(key)) this.unsaved.set(key, value);
    }
    this.show();
  }

  /** Send again the ratings whose earlier requests have no reply although a later one has. */
  resend(number) {
    for (const [key, value] of this.unsaved) {
      if (value.number < number && !this.problems.has(key) && this.kernel.waiting.has(value.number)) {
        this.kernel.waiting.delete(value.number);
        this.send(key);
      }
    }
  }

  /** Apply the unsaved ratings to the document, which may be older than the ratings. */
  show() {
    for (const [key, { rating, rejected, note }] of this.unsaved) {
      this.state.imagesByKey.get(key)?.forEach((image) => {
        Object.assign(image, { rating, rejected, note });
      });
    }
    this.state.forget();
  }

  /** Return the file with the unsaved ratings, which `%comflowy load` reads. */
  file(name) {
    const images = [...this.unsaved].map(([key, { rating, rejected, note }]) => {
      const image = this.state.imagesByKey.get(key)?.[0];
      return { sha256: image?.sha256 ?? null, ref: image?.ref ?? key, rating, rejected, note };
    });
    return JSON.stringify({ format: "comflowy_nb ratings", version: 1, name, images }, null, 1);
  }
}

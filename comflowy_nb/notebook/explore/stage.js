// The large image of the current combination, or two of them side by side under one zoom.

import { clamp, followPointer, make, makeButton, pointIn, showImage, Zoom } from "../widgets/shared.js";
import { stateOf } from "./cells.js";
import { isVideo, makeVideo } from "./videos.js";

const PANE_GAP = 8;
const MIN_HEIGHT = 240;
const MAX_HEIGHT = 760;
const MAX_ENLARGED = 2; // a small image is shown at most this much larger
const UNKNOWN_SIZE = [512, 512]; // of the canvas, until an image has arrived
const CLICK_PX = 4; // a press that moves further is a drag

/** One image, or the state of its cell, with a label. */
class Pane {
  constructor(explorer, number) {
    this.explorer = explorer;
    this.number = number;
    this.image = make("img", { draggable: "false", decoding: "async" });
    this.video = makeVideo();
    this.chip = make("span", { class: "cx-chip-on" });
    this.layer = make("div", { class: "cx-layer" }, this.image, this.video);
    this.words = make("strong");
    this.error = make("pre", { tabindex: "0", "aria-label": "The error" });
    this.again = makeButton({ class: "cx-again" }, "Run again", () => this.runAgain());
    this.plate = make("div", { class: "cx-plate" }, this.words, this.error, this.again);
    this.element = make("div", { class: "cx-pane" }, this.layer, this.chip, this.plate);
    this.image.addEventListener("load", () => explorer.schedule());
    this.video.addEventListener("loadedmetadata", () => explorer.schedule());
  }

  runAgain() {
    const { item } = this.entry;
    this.explorer.dialog.askPlan(item.can.retry ? "retry" : "missing", [item.id]);
  }

  show(entry, isShown) {
    this.entry = entry;
    const { image, item } = entry;
    const { isImage, text, tone } = isShown
      ? stateOf(entry)
      : { isImage: false, text: "not shown by the filter", tone: "quiet" };
    const { thumbs, fulls } = this.explorer.images;
    const thumb = isImage ? thumbs.get(image.key) : null;
    const full = isImage ? fulls.get(image.key) : null;
    const plays = isVideo(full);
    const url = (plays ? null : full?.url) ?? thumb?.url;
    this.image.alt = isImage ? `${image.ref}: ${item.caption}` : "";
    showImage(this.image, url, !plays);
    showImage(this.video, plays ? full.url : null, plays);
    this.isThumb = url === thumb?.url;
    const problem = full?.problem;
    const waits = isImage && !url && !plays;
    this.words.textContent = waits ? problem || "Loading \u2026" : text;
    this.error.textContent = isShown && !isImage ? (item?.error ?? "") : "";
    this.error.hidden = !this.error.textContent;
    const can = (!this.explorer.isOffline && item?.can) || {};
    this.again.hidden = isImage || !(can.retry || can.run);
    this.again.textContent = can.retry ? "Run again" : "Run this cell";
    this.plate.hidden = !this.words.textContent;
    this.plate.dataset.tone = tone;
    const isSharp = isImage && Math.max(...(image.size ?? [0])) > 0;
    this.size = isSharp ? image.size : this.naturalSize;
  }

  get naturalSize() {
    const { naturalWidth, naturalHeight } = this.image;
    return naturalWidth ? [naturalWidth, naturalHeight] : null;
  }

  /** Return whether the full image is needed: the thumbnail would be enlarged, or the image is a video. */
  needsFull(scale) {
    const { image } = this.entry;
    if (!image || !stateOf(this.entry).isImage) return false;
    if (image.video || this.explorer.images.thumbs.get(image.key)?.problem) return true;
    if (!this.isThumb || !this.naturalSize) return !this.isThumb;
    const longest = Math.max(...this.naturalSize);
    const wanted = image.size ? Math.max(...image.size) : Infinity;
    return wanted > longest && Math.max(...this.size) * scale * (window.devicePixelRatio || 1) > longest;
  }

  close() {
    this.image.removeAttribute("src");
    this.video.removeAttribute("src");
  }
}

export class Stage {
  constructor(explorer, signal) {
    this.explorer = explorer;
    this.signal = signal;
    this.zoom = new Zoom(() => explorer.schedule());
    this.zoom.canvas = UNKNOWN_SIZE;
    this.panes = [new Pane(explorer, 0), new Pane(explorer, 1)];
    this.element = make(
      "div",
      { class: "cx-stage", tabindex: "0", role: "group", "data-key": "stage" },
      ...this.panes.map(({ element }) => element),
    );
    this.element.addEventListener("pointerdown", (event) => this.press(event), { signal });
    this.element.addEventListener("wheel", (event) => this.zoom.wheel(event, this.paneOf(event)), {
      signal,
      passive: false,
    });
  }

  paneOf(event) {
    return event.target.closest(".cx-pane") ?? this.element;
  }

  /** A click shows the actual pixels, or all of the image again. A drag pans. */
  press(event) {
    if (event.button !== 0 || event.target.closest("button, pre")) return;
    this.element.focus({ preventScroll: true });
    event.preventDefault();
    const pane = this.paneOf(event);
    const point = pointIn(pane, event);
    const start = [event.clientX, event.clientY];
    let before = start;
    let isDrag = false;
    const number = this.panes.findIndex(({ element }) => element === pane);
    const isOther = this.explorer.panes.activate(number);
    const move = ({ clientX, clientY }) => {
      isDrag ||= Math.hypot(clientX - start[0], clientY - start[1]) > CLICK_PX;
      if (isDrag) this.zoom.panBy(clientX - before[0], clientY - before[1]);
      before = [clientX, clientY];
    };
    const end = () => {
      if (!isDrag && !isOther) this.zoom.toggleActual(point);
      isDrag = true;
    };
    followPointer(this.element, event, this.signal, move, end);
  }

  /** Show one entry, or two. */
  draw(entries, isShown) {
    const width = this.element.clientWidth;
    if (!width) return;
    this.count = entries.length;
    entries.forEach((entry, number) => {
      this.panes[number].show(entry, isShown(entry));
    });
    this.panes[1].element.hidden = this.count < 2;
    if (this.count < 2) this.panes[1].close();
    const shown = this.panes.slice(0, this.count);
    const sizes = shown.map(({ size }) => size).filter(Boolean);
    if (sizes.length) this.zoom.canvas = [0, 1].map((axis) => Math.max(...sizes.map((size) => size[axis])));
    const [canvasWidth, canvasHeight] = this.zoom.canvas;
    const paneWidth = (width - PANE_GAP * (this.count - 1)) / this.count;
    const most = clamp(window.innerHeight * 0.72, MIN_HEIGHT, MAX_HEIGHT);
    const wanted = Math.min((paneWidth * canvasHeight) / canvasWidth, canvasHeight * MAX_ENLARGED);
    const height = Math.round(clamp(wanted, Math.min(360, most), most));
    this.element.style.height = `${height}px`;
    this.zoom.pane = [paneWidth, height];
    this.zoom.settle();
    this.place(shown, paneWidth);
    const { classList } = this.element;
    classList.toggle("cx-pans", this.zoom.canPan);
    classList.toggle("cx-pixels", this.zoom.scale >= 3);
    const now = this.explorer.state.at.join();
    for (const [number, pane] of shown.entries()) {
      const { element, entry } = pane;
      pane.chip.textContent = this.count > 1 ? this.explorer.panes.labelOf(number) : "";
      element.dataset.active = String(this.count > 1 && entry.place.join() === now);
    }
  }

  get videos() {
    return this.panes
      .slice(0, this.count)
      .map(({ video }) => video)
      .filter((video) => !video.hidden);
  }

  place(shown, paneWidth) {
    const { origin, scale, canvas } = this.zoom;
    for (const [number, pane] of shown.entries()) {
      pane.element.style.left = `${number * (paneWidth + PANE_GAP)}px`;
      pane.element.style.width = `${paneWidth}px`;
      const size = pane.size ?? canvas;
      const fit = Math.min(canvas[0] / size[0], canvas[1] / size[1]) * scale;
      const [width, height] = size.map((each) => each * fit);
      for (const element of [pane.image, pane.video]) {
        element.style.width = `${width}px`;
        element.style.height = `${height}px`;
        const x = origin[0] + (canvas[0] * scale - width) / 2;
        const y = origin[1] + (canvas[1] * scale - height) / 2;
        element.style.transform = `translate(${x}px, ${y}px)`;
      }
    }
  }

  /** The keys of the images to load in full size. */
  get neededFulls() {
    const shown = this.panes.slice(0, this.count);
    return shown.filter((pane) => pane.needsFull(this.zoom.scale)).map(({ entry }) => entry.image.key);
  }

  close() {
    for (const pane of this.panes) pane.close();
  }
}

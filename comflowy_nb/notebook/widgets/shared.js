// Shared code of the widgets: elements, keys, the theme, zoom, and images with their object URLs.
// `layout/scripts.py` puts this text before that of a widget: there is no build, and nothing is fetched.

const SVG = "http://www.w3.org/2000/svg";
const MAX_SCALE = 32; // screen pixels for one pixel of the image
const ZOOM_STEP = 1.5;

export const SLOW_MS = 1500; // after this wait the user sees the reason
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

/** Make an element with attributes and children. Texts become text nodes, never HTML. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Make a button with an action. */
export function makeButton(attributes, children, act) {
  const button = make("button", { type: "button", ...attributes }, ...[children].flat());
  button.addEventListener("click", act);
  return button;
}

/** Make an icon of lines in a box of 16 by 16. */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  swap: "M4 5.5h8M9.5 3 12 5.5 9.5 8M12 10.5H4M6.5 8 4 10.5 6.5 13",
  minus: "M3.5 8h9",
  plus: "M3.5 8h9M8 3.5v9",
  grip: "M6 4.5 2.5 8 6 11.5M10 4.5 13.5 8 10 11.5",
  left: "M9.5 4 5.5 8l4 4",
  right: "M6.5 4l4 4-4 4",
  play: "M5.5 3.5v9l7-4.5z",
  pause: "M5.5 4v8M10.5 4v8",
  across: "M2.5 8h11M5 5.5 2.5 8 5 10.5M11 5.5 13.5 8 11 10.5",
  down: "M8 2.5v11M5.5 5 8 2.5 10.5 5M5.5 11 8 13.5 10.5 11",
  undo: "M3 6.5h6.5a3.5 3.5 0 0 1 0 7H6M5.5 4 3 6.5 5.5 9",
  filter: "M2.5 4h11M4.5 8h7M6.5 12h3",
  up: "M8 12.5v-9M4.5 7 8 3.5 11.5 7",
  fall: "M8 3.5v9M4.5 9 8 12.5 11.5 9",
};

/** Return whether Jupyter handles a key press although the focus is in a widget: to run the cell, to save, to undo. */
const isForJupyter = ({ key, shiftKey, ctrlKey, metaKey, altKey }) =>
  ctrlKey || metaKey || altKey || (shiftKey && key === "Enter");

/**
 * Keep the keys that are pressed in a widget from Jupyter, where single letters delete cells and restart the kernel.
 *
 * Notebook 7 reads keys on the document before any element in it does. It ignores a key if the element with the focus,
 * or an element around it, has a certain attribute. A listener on the window, which is called even earlier, sets this
 * attribute on the element with the focus for each key. JupyterLab reads keys after the widget. `act` is called with the
 * kept keys.
 */
export function keepKeys(root, signal, act = () => {}) {
  const decide = (event) => {
    const [target] = event.composedPath();
    if (root.contains(target)) target.toggleAttribute("data-lm-suppress-shortcuts", !isForJupyter(event));
  };
  window.addEventListener("keydown", decide, { signal, capture: true });
  root.addEventListener(
    "keydown",
    (event) => {
      if (isForJupyter(event)) return;
      event.stopPropagation();
      act(event);
    },
    { signal },
  );
}

/** Follow the theme of the front end: native controls are light or dark as the text is dark or light. */
export function followTheme(root, signal) {
  const follow = () => {
    if (!root.isConnected) return;
    const [red, green, blue] = getComputedStyle(root)
      .color.match(/[\d.]+/g)
      .map(Number);
    const theme = red * 0.299 + green * 0.587 + blue * 0.114 > 140 ? "dark" : "light";
    root.style.colorScheme = theme;
    root.dataset.theme = theme;
  };
  const later = () => requestAnimationFrame(follow);
  const watch = new MutationObserver(later);
  watch.observe(document.body, { attributes: true });
  watch.observe(document.documentElement, { attributes: true });
  signal.addEventListener("abort", () => watch.disconnect());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later, { signal });
  later();
}

/** Return a unique name for a view, by which the view recognises the replies to its requests. */
export const nameView = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

/** Images that arrived, by key, with their object URLs. Those not in use are kept up to a number of bytes. */
export class ImageCache {
  constructor(maxIdleBytes, maxIdle = Infinity) {
    this.maxIdleBytes = maxIdleBytes;
    this.maxIdle = maxIdle;
    this.images = new Map();
  }

  has(key) {
    return this.images.has(key);
  }

  get(key) {
    return this.images.get(key);
  }

  /** Keep a reply with its content, if it has one. A reply may name a URL instead. */
  put(key, details, content) {
    this.drop(key);
    const url = content ? URL.createObjectURL(new Blob([content], { type: details.kind })) : (details.url ?? null);
    this.images.set(key, { ...details, url, isOwn: Boolean(content), bytes: content?.byteLength ?? 0 });
  }

  /** Keep the images in use, and of the others those that arrived last, up to both limits. A failed image is requested again. */
  trim(keysInUse) {
    let bytes = 0;
    let count = 0;
    for (const [key, got] of [...this.images].reverse()) {
      if (keysInUse.has(key)) continue;
      bytes += got.bytes;
      count += 1;
      if (got.problem || bytes > this.maxIdleBytes || count > this.maxIdle) this.drop(key);
    }
  }

  drop(key) {
    const got = this.images.get(key);
    if (got?.url && got.isOwn) URL.revokeObjectURL(got.url);
    this.images.delete(key);
  }

  close() {
    for (const key of [...this.images.keys()]) this.drop(key);
  }
}

/** Show an image in an element, or nothing: its URL may be revoked. */
export function showImage(element, url, isShown = true) {
  element.hidden = !isShown || !url;
  if (isShown && url && element.getAttribute("src") !== url) element.src = url;
  if (!url) element.removeAttribute("src");
}

/** Zoom and pan of images on a common canvas, the same for all panes. Sizes are in pixels of the screen or the canvas. */
export class Zoom {
  constructor(onChange) {
    this.onChange = onChange;
    this.zoom = 1; // 1: the canvas fits the pane
    this.centre = [0.5, 0.5]; // the part of the canvas in the middle of the pane
    this.canvas = [1, 1];
    this.pane = [1, 1];
    this.pans = [false, false]; // whether the canvas is larger than the pane, on each axis
  }

  get fitScale() {
    return Math.min(this.pane[0] / this.canvas[0], this.pane[1] / this.canvas[1]);
  }

  get scale() {
    return this.fitScale * this.zoom;
  }

  get canPan() {
    return this.pans.some(Boolean);
  }

  /** The position of the canvas's corner in the pane. */
  get origin() {
    return this.pane.map((size, axis) => size / 2 - this.centre[axis] * this.canvas[axis] * this.scale);
  }

  get text() {
    const percent = this.scale * 100;
    return `${percent < 10 ? percent.toFixed(1) : Math.round(percent)}\u00a0%`;
  }

  in(point) {
    this.to(this.zoom * ZOOM_STEP, point);
  }

  out(point) {
    this.to(this.zoom / ZOOM_STEP, point);
  }

  /** Zoom, and keep the same part of the canvas under a point, which counts from the middle of the pane. */
  to(zoom, point = [0, 0]) {
    const fit = this.fitScale;
    const before = this.scale;
    this.zoom = clamp(zoom, Math.min(1, 1 / fit), Math.max(1, MAX_SCALE / fit));
    if (Math.abs(this.zoom - 1) < 0.02) this.zoom = 1;
    this.centre = this.centre.map((at, axis) => at + (point[axis] / this.canvas[axis]) * (1 / before - 1 / this.scale));
    this.onChange();
  }

  showAll() {
    this.centre = [0.5, 0.5];
    this.to(1);
  }

  showActual(point) {
    this.to(1 / this.fitScale, point);
  }

  toggleActual(point) {
    if (this.zoom === 1) this.showActual(point);
    else this.showAll();
  }

  panBy(x, y) {
    this.centre = [this.centre[0] - x / this.scale / this.canvas[0], this.centre[1] - y / this.scale / this.canvas[1]];
    this.onChange();
  }

  /** Limit panning so that no edge of the image moves into its pane. */
  settle() {
    this.pans = this.pane.map((size, axis) => this.canvas[axis] * this.scale > size + 1);
    this.centre = this.centre.map((at, axis) => {
      const half = this.pane[axis] / 2 / (this.canvas[axis] * this.scale);
      return this.pans[axis] ? clamp(at, half, 1 - half) : 0.5;
    });
  }

  /** Zoom by the wheel with Ctrl held down. Without it the page scrolls. */
  wheel(event, pane) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.to(this.zoom * Math.exp(-clamp(event.deltaY, -60, 60) / 150), pointIn(pane, event));
  }
}

/** Return the position of an event in a pane, in pixels from the pane's middle. */
export function pointIn(pane, event) {
  const box = pane.getBoundingClientRect();
  return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
}

/** Call `move` with each position of a pressed pointer, and `end` when it is released. */
export function followPointer(element, event, signal, move, end = () => {}) {
  element.setPointerCapture(event.pointerId);
  const held = new AbortController();
  const options = { signal: AbortSignal.any?.([held.signal, signal]) ?? held.signal };
  element.addEventListener("pointermove", move, options);
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    const stop = () => {
      held.abort();
      end();
    };
    element.addEventListener(name, stop, options);
  }
}

/** Whether the system setting for reduced motion is on. */
export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)");

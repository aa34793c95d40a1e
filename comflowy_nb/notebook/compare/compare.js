// A comparison in the browser. The notebook's model, or that of a saved page (page.html), has texts and state. Images
// arrive by message while they are shown; otherwise their object URLs are revoked. Nothing is fetched.

import {
  ARROWS,
  clamp,
  followPointer,
  followTheme,
  keepKeys,
  make,
  reducedMotion,
  showImage,
} from "../widgets/shared.js";
import { Controls, labelOf, MODES } from "./controls.js";
import { ImageLoader } from "./loader.js";
import { Stage } from "./stage.js";
import { buildTable } from "./table.js";

const GRIP_PX = 24; // from the slider's line: a drag within it moves the line instead of panning the images
const SAVE_MS = 80;

/** Connects the model, the controls, the stage and the loaded images; handles keys and pointer. */
class View {
  constructor(model, el) {
    this.model = model;
    this.content = model.get("_content");
    this.images = this.content.images;
    this.shown = 0; // index of the visible one of the two that blink
    this.isStill = reducedMotion().matches;
    this.ended = new AbortController();
    this.stage = new Stage(this.images, this.content.canvas, () => this.draw());
    this.zoom = this.stage.zoom;
    this.controls = new Controls(this.content, this.zoom, {
      choose: (mode) => this.choose(mode),
      pick: (side, index) => this.pick(side, index),
      swap: () => this.pick("left", this.model.get("right")),
      setPace: (seconds) => this.sync("pace_s", seconds),
      togglePlay: () => this.setStill(!this.isStill),
    });
    this.loader = new ImageLoader(model, () => this.draw());
    this.spoken = make("div", { class: "cc-unseen", "aria-live": "polite" });
    this.root = this.build();
    el.append(this.root);
    this.listen();
    this.arrange();
  }

  build() {
    const { shared, warnings } = this.content;
    const table = buildTable(this.content);
    return make(
      "div",
      { class: "comflowy-compare", role: "group", "aria-label": this.images.map(({ name }) => name).join(", ") },
      ...(table ? [table] : []),
      ...(shared ? [make("p", { class: "cc-quiet" }, `same in all: ${shared}`)] : []),
      ...warnings.map((line) => make("p", { class: "cc-quiet" }, line)),
      this.controls.bar,
      this.stage.root,
      this.controls.foot,
      this.spoken,
    );
  }

  listen() {
    const signal = this.ended.signal;
    const { range } = this.stage;
    const on = (target, name, act, options = {}) => target.addEventListener(name, act, { signal, ...options });
    this.modelListeners = {
      "change:mode": () => this.arrange(),
      "change:left": () => this.arrange(),
      "change:right": () => this.arrange(),
      "change:position": () => this.draw(),
      "change:pace_s": () => this.beat(),
    };
    for (const [name, act] of Object.entries(this.modelListeners)) this.model.on(name, act);
    // In the next frame: a size changed within the callback is logged as an error.
    this.watch = new ResizeObserver(() => requestAnimationFrame(() => signal.aborted || this.draw()));
    this.watch.observe(this.root);
    this.watch.observe(this.stage.root);
    on(window, "resize", () => this.draw());
    on(document, "visibilitychange", () => this.beat());
    keepKeys(this.root, signal, (event) => this.press(event));
    followTheme(this.root, signal);
    // Arrow keys act on keydown above, which prevents the native step of the range.
    on(range, "input", () => this.slide(Number(range.value)));
    on(range, "change", () => this.flush());
    on(this.stage.root, "pointerdown", (event) => this.grab(event));
    on(this.stage.root, "dblclick", (event) => this.zoom.toggleActual(this.stage.pointOf(event)));
    on(this.stage.root, "wheel", (event) => this.zoom.wheel(event, this.stage.paneOf(event)), { passive: false });
    const motion = reducedMotion();
    on(motion, "change", () => this.setStill(motion.matches));
  }

  get mode() {
    return this.model.get("mode");
  }

  /** The indices of the left and the right image. */
  get two() {
    return [this.model.get("left"), this.model.get("right")];
  }

  get namesOfTwo() {
    return this.two.map((index) => this.images[index].name);
  }

  choose(mode) {
    this.sync("mode", mode);
    const [left, right] = this.namesOfTwo;
    this.spoken.textContent = mode === "side" ? labelOf(mode) : `${labelOf(mode)}: ${left}, ${right}`;
  }

  /** Choose the image of one side. If the other side shows it, the two sides are swapped. */
  pick(side, index) {
    const other = side === "left" ? "right" : "left";
    const before = this.model.get(side);
    if (this.model.get(other) === index) this.model.set(other, before);
    this.sync(side, index);
  }

  sync(name, value) {
    this.model.set(name, value);
    this.flush();
  }

  flush() {
    clearTimeout(this.saving);
    this.saving = undefined;
    this.model.save_changes();
  }

  /** Move the slider. The position is sent to Python at most once in SAVE_MS. */
  slide(position) {
    this.model.set("position", Math.round(clamp(position, 0, 100) * 10) / 10);
    this.saving ??= setTimeout(() => this.flush(), SAVE_MS);
  }

  slideTo(position) {
    this.slide(position);
    this.flush();
  }

  setStill(isStill) {
    this.isStill = isStill;
    this.beat();
  }

  flipByHand() {
    this.setStill(true);
    this.flip();
  }

  flip() {
    this.shown = 1 - this.shown;
    this.draw();
  }

  /** Start or stop blinking, depending on mode, button and visibility of the page. */
  beat() {
    clearInterval(this.beating);
    const seconds = this.model.get("pace_s");
    this.controls.showPace(seconds, this.isStill);
    if (this.mode === "blink" && !this.isStill && !document.hidden) {
      this.beating = setInterval(() => this.flip(), seconds * 1000);
    }
  }

  press(event) {
    if (event.target.tagName === "SELECT" || event.target === this.controls.secondsInput) return;
    const act = this.actionOf(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Return what a key does, or null. */
  actionOf({ key, shiftKey, target }) {
    const mode = MODES.find((each) => each.key === key.toLowerCase());
    if (mode) return () => this.choose(mode.name);
    if (key === "+" || key === "=") return () => this.zoom.in();
    if (key === "-" || key === "_") return () => this.zoom.out();
    if (key.toLowerCase() === "f") return () => this.zoom.showAll();
    const [across, down] = ARROWS[key] ?? [0, 0];
    const steps = across || -down;
    const { buttons } = this.controls;
    if (buttons.includes(target)) {
      if (!across && !down) return null;
      const at = (buttons.indexOf(target) + (across || down) + MODES.length) % MODES.length;
      return () => {
        this.choose(MODES[at].name);
        buttons[at].focus();
      };
    }
    const { canPan } = this.zoom;
    const { root: stage, range } = this.stage;
    if (target === range || (target === stage && this.mode === "slider" && !canPan)) {
      const to = { Home: 0, End: 100 }[key];
      if (to !== undefined) return () => this.slideTo(to);
      const step = steps * (shiftKey ? 10 : 1) || { PageUp: 10, PageDown: -10 }[key];
      return step ? () => this.slideTo(this.model.get("position") + step) : null;
    }
    if (target !== stage) return null;
    if (this.mode === "blink" && key === " ") return () => this.setStill(!this.isStill);
    if (this.mode === "blink" && across && !canPan) return () => this.flipByHand();
    const [width, height] = this.zoom.pane;
    const share = shiftKey ? 0.5 : 0.1;
    return across || down ? () => this.zoom.panBy(-across * width * share, -down * height * share) : null;
  }

  /** Follow a pressed pointer: it moves the slider's line or pans the images. */
  grab(event) {
    if (event.button !== 0) return;
    const { root: stage, range, line } = this.stage;
    const box = stage.getBoundingClientRect();
    const x = event.clientX - box.left;
    const near = Math.abs(x - line) < GRIP_PX;
    const slides = this.mode === "slider" && (near || !this.zoom.canPan);
    if (!slides && !this.zoom.canPan) {
      stage.focus({ preventScroll: true });
      event.preventDefault();
      return;
    }
    event.preventDefault();
    (slides ? range : stage).focus({ preventScroll: true });
    stage.classList.add("cc-held");
    const offset = slides && near ? x - line : 0; // a press on the knob's edge does not move the line
    let before = [event.clientX, event.clientY];
    const move = ({ clientX, clientY }) => {
      if (slides) this.slide(this.stage.positionAt(clientX - box.left - offset));
      else this.zoom.panBy(clientX - before[0], clientY - before[1]);
      before = [clientX, clientY];
    };
    if (slides && !near) move(event);
    followPointer(stage, event, this.ended.signal, move, () => {
      stage.classList.remove("cc-held");
      this.flush();
    });
  }

  /** Display the mode and the two images of the model. */
  arrange() {
    this.stage.arrange(this.mode, this.two);
    this.controls.showMode(this.mode, this.two);
    this.beat();
    this.draw();
  }

  /** Update everything that depends on sizes, zoom, position and loaded images. */
  draw() {
    if (!this.stage.root.clientWidth) return; // not yet in the page, or hidden: the ResizeObserver calls again
    this.stage.draw(this.model.get("position"), this.shown, this.namesOfTwo);
    this.controls.showZoom();
    this.drawImages();
  }

  /** Request the visible images, and show those that arrived: first the preview, then the image itself. */
  drawImages() {
    const mode = this.mode;
    const visible = mode === "side" ? this.images.map((_, index) => index) : this.two;
    const pair = [...this.two].sort((one, other) => one - other);
    const needed = [];
    if (mode === "difference") {
      needed.push({ ask: "difference", pair });
    } else {
      const full = visible.filter((index) => this.needsFull(index));
      const isThere = (index) => this.loader.get({ ask: "image", index });
      needed.push(...visible.filter((index) => !isThere(index)).map((index) => ({ ask: "preview", index })));
      needed.push(...full.map((index) => ({ ask: "image", index })));
    }
    this.loader.need(needed);
    this.stage.elements.forEach((image, index) => {
      const shown = visible.includes(index) && mode !== "difference";
      const got = [
        { ask: "image", index },
        { ask: "preview", index },
      ].map((request) => this.loader.get(request));
      showImage(image, got.find((each) => each?.url)?.url, shown);
    });
    const found = mode === "difference" ? this.loader.get({ ask: "difference", pair }) : undefined;
    showImage(this.stage.heat, found?.url, mode === "difference");
    if (mode === "difference") this.controls.showNumbers(found);
    const problems = new Set(needed.map((request) => this.loader.get(request)?.problem).filter(Boolean));
    this.say(problems, mode);
  }

  /** Return whether the preview is not enough: it would be enlarged, or the image is no larger. */
  needsFull(index) {
    const { size, box } = this.stage.images[index];
    const longest = Math.max(...size);
    const shown = Math.max(box.width, box.height) * this.zoom.scale * (window.devicePixelRatio || 1);
    const { preview_px: previewPx } = this.content; // the longest side of a preview
    return longest <= previewPx || shown > previewPx;
  }

  /** Display the problems, or that images are loading, over the stage. */
  say(problems, mode) {
    const waits = mode === "difference" ? "Comparing the pixels \u2026" : "Loading the images \u2026";
    const slow = `${waits} The kernel may be busy; if it has ended, run the cell again.`;
    const { heat, elements, note } = this.stage;
    const isEmpty = mode === "difference" ? !heat.src : elements.every((image) => image.hidden || !image.src);
    const text =
      [...problems].join(" \u2022 ") || (this.loader.pending && isEmpty ? (this.loader.isSlow ? slow : waits) : "");
    if (note.textContent !== text) note.textContent = text;
    note.classList.toggle("cc-bad", problems.size > 0);
  }

  close() {
    clearInterval(this.beating);
    if (this.saving) this.flush();
    this.ended.abort();
    this.watch.disconnect();
    for (const [name, act] of Object.entries(this.modelListeners)) this.model.off(name, act);
    this.loader.close();
    for (const image of [...this.stage.elements, this.stage.heat]) image.removeAttribute("src");
    this.root.remove();
  }
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.close();
}

export default { render };

// A comparison in the browser. The notebook's model, or that of a saved page (page.html), has texts and state. Images
// arrive by message while they are shown; otherwise their object URLs are revoked. Nothing is fetched.

import {
  ARROWS,
  clamp,
  followPointer,
  followTheme,
  ICONS,
  ImageCache,
  icon,
  keepKeys,
  make,
  makeButton,
  nameView,
  pointIn,
  reducedMotion,
  SLOW_MS,
  showImage,
  Zoom,
} from "../widgets/shared.js";

const MODES = [
  { name: "slider", label: ["Slider"], key: "s" },
  { name: "blink", label: ["Blink"], key: "b" },
  { name: "side", label: ["Side", " by side"], key: "g" },
  { name: "difference", label: ["Difference"], key: "d" },
];
const PREVIEW_PX = 512; // the longest side of a preview
const MAX_CACHED_BYTES = 96e6; // of images that are not shown, so that going back requests nothing
const GAP_PX = 6;
const CHIP_PX = 8; // between a name and its corner of the image
const GRIP_PX = 24; // from the slider's line: a drag within it moves the line instead of panning the images
const SAVE_MS = 80;

const keyOf = (request) => `${request.ask}-${request.pair ? request.pair.join("-") : request.index}`;

/** Return the box of an image on the common canvas: as large as it fits, in the middle. */
function fitOnCanvas([width, height], [canvasWidth, canvasHeight]) {
  const scale = Math.min(canvasWidth / width, canvasHeight / height);
  const [w, h] = [width * scale, height * scale];
  return { x: (canvasWidth - w) / 2, y: (canvasHeight - h) / 2, width: w, height: h };
}

/** Requests images, one at a time, and keeps the object URLs of those that arrived. */
class ImageLoader {
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

/** Build the table of the fields that differ. In a narrow widget each row becomes a card. */
function buildTable({ table, images }) {
  if (!table.rows.length) return null;
  // The roles are explicit because browsers drop those of a table that CSS lays out as cards.
  const heading = (isColumn, ...children) =>
    make("th", isColumn ? { scope: "col", role: "columnheader" } : { scope: "row", role: "rowheader" }, ...children);
  const row = (...cells) => make("tr", { role: "row" }, ...cells);
  const names = images.map((image) => {
    const cell = heading(table.tall, make("b", {}, image.name));
    if (image.also) cell.append(make("span", { class: "cc-also" }, image.also));
    return cell;
  });
  const fields = table.rows.map(({ name }) => heading(!table.tall, name));
  const cell = ({ name, values, known, long }, at) => {
    const kind = known[at] ? (long ? "cc-long" : "") : "cc-none";
    const value = make("td", { role: "cell", "data-label": table.tall ? images[at].name : name, class: kind });
    const pieces = make("span", {});
    for (const [text, mark] of values[at]) {
      pieces.append(mark === "same" ? text : make(mark === "only" ? "mark" : "u", {}, text));
    }
    value.append(pieces);
    return value;
  };
  const corner = make(
    "td",
    { role: "columnheader" },
    make("span", { class: "cc-unseen" }, table.tall ? "field" : "image"),
  );
  const body = table.tall
    ? table.rows.map((field, index) => row(fields[index], ...images.map((_, at) => cell(field, at))))
    : names.map((name, at) => row(name, ...table.rows.map((field) => cell(field, at))));
  return make(
    "div",
    { class: "cc-scroll", role: "region", tabindex: "0", "aria-label": "Differences" },
    make(
      "table",
      { role: "table", class: table.tall ? "cc-tall" : "" },
      make("thead", { role: "rowgroup" }, row(corner, ...(table.tall ? names : fields))),
      make("tbody", { role: "rowgroup" }, ...body),
    ),
  );
}

class View {
  constructor(model, el) {
    this.model = model;
    this.content = model.get("_content");
    this.canvas = this.content.canvas;
    this.images = this.content.images.map((image) => ({ ...image, at: fitOnCanvas(image.size, this.canvas) }));
    this.zoom = new Zoom(() => this.draw());
    this.zoom.canvas = this.canvas;
    this.shown = 0; // index of the visible one of the two that blink
    this.isStill = reducedMotion().matches;
    this.ended = new AbortController();
    this.loader = new ImageLoader(model, () => this.draw());
    this.elements = this.images.map(({ name, caption }) =>
      make("img", { alt: caption ? `${name}: ${caption}` : name, draggable: "false", decoding: "async" }),
    );
    this.heat = make("img", { draggable: "false", decoding: "async", class: "cc-heat" });
    this.root = this.build();
    el.append(this.root);
    this.listen();
    this.arrange();
  }

  // -- building ------------------------------------------------------------------------------------------------

  build() {
    const { shared, warnings } = this.content;
    this.stage = make("div", { class: "cc-stage", tabindex: "0", role: "group" });
    this.note = make("div", { class: "cc-note", role: "status" });
    this.spoken = make("div", { class: "cc-unseen", "aria-live": "polite" });
    this.range = make("input", {
      type: "range",
      min: "0",
      max: "100",
      step: "0.1",
      "aria-label": "Slider between the two images",
    });
    this.handle = make("div", { class: "cc-handle" }, this.range, make("div", { class: "cc-knob" }, icon(ICONS.grip)));
    const table = buildTable(this.content);
    return make(
      "div",
      { class: "comflowy-compare", role: "group", "aria-label": this.images.map(({ name }) => name).join(", ") },
      ...(table ? [table] : []),
      ...(shared ? [make("p", { class: "cc-quiet" }, `same in all: ${shared}`)] : []),
      ...warnings.map((line) => make("p", { class: "cc-quiet" }, line)),
      make("div", { class: "cc-bar" }, this.buildModes(), this.buildPair(), this.buildZoom()),
      this.stage,
      this.buildFoot(),
      this.spoken,
    );
  }

  buildModes() {
    this.buttons = MODES.map(({ name, label: [first, rest], key }) => {
      const words = rest ? [first, make("span", { class: "cc-rest" }, rest)] : [first];
      const title = `${labelOf(name)} (key ${key})`;
      return makeButton({ role: "radio", title, "aria-label": labelOf(name) }, words, () => this.choose(name));
    });
    return make("div", { class: "cc-modes", role: "radiogroup", "aria-label": "How to compare" }, ...this.buttons);
  }

  buildPair() {
    const options = () =>
      this.images.map(({ name, caption }, index) =>
        make("option", { value: String(index) }, caption ? `${name} \u00b7 ${caption}` : name),
      );
    this.selects = ["left", "right"].map((side) => {
      const select = make("select", { "aria-label": side === "left" ? "Left image" : "Right image" }, ...options());
      select.addEventListener("change", () => this.pick(side, Number(select.value)));
      return select;
    });
    const swap = makeButton(
      { class: "cc-icon", title: "Swap", "aria-label": "Swap the two images" },
      icon(ICONS.swap),
      () => this.pick("left", this.model.get("right")),
    );
    this.pair = make("div", { class: "cc-pair" }, this.selects[0], swap, this.selects[1]);
    return this.pair;
  }

  buildZoom() {
    const button = (label, title, child, act) =>
      makeButton({ class: "cc-icon", title, "aria-label": label }, child, act);
    this.scaleText = make("output", { "aria-label": "Zoom" });
    const actual = button("Actual pixels", "One pixel of the image on one of the screen", "1:1", () =>
      this.zoom.showActual(),
    );
    const fit = button("Fit", "Fit (key f)", "Fit", () => this.zoom.showAll());
    return make(
      "div",
      { class: "cc-zoom", role: "group", "aria-label": "Zoom" },
      button("Zoom out", "Zoom out (key -)", icon(ICONS.minus), () => this.zoom.out()),
      this.scaleText,
      button("Zoom in", "Zoom in (key +)", icon(ICONS.plus), () => this.zoom.in()),
      fit,
      actual,
    );
  }

  buildFoot() {
    this.play = makeButton({ class: "cc-play" }, [], () => this.setStill(!this.isStill));
    this.secondsInput = make("input", {
      type: "range",
      min: "0.4",
      max: "3",
      step: "0.1",
      "aria-label": "Seconds for each image",
    });
    this.secondsInput.addEventListener("input", () => this.sync("pace_s", Number(this.secondsInput.value)));
    this.secondsText = make("output", {});
    this.legend = make("div", { class: "cc-legend", role: "img" });
    this.legendTop = make("span", {});
    this.numbers = make("b", {});
    this.caveat = make("span", {});
    const stops = this.content.heat.map(([stop, colour]) => `rgb(${colour.join(" ")}) ${stop * 100}%`);
    this.legend.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    this.feet = {
      slider: make("div", {}, "Drag the line, or press \u2190 \u2192; with Shift in larger steps."),
      blink: make("div", {}, this.play, make("label", {}, "Interval", this.secondsInput), this.secondsText),
      side: make("div", {}, "Drag to pan, + and \u2212 or Ctrl and the wheel to zoom: all move together."),
      difference: make(
        "div",
        {},
        make("span", { class: "cc-scale" }, "0", this.legend, this.legendTop),
        make("span", { class: "cc-numbers", "aria-live": "polite" }, this.numbers, " ", this.caveat),
      ),
    };
    return make("div", { class: "cc-foot" }, ...MODES.map(({ name }) => this.feet[name]));
  }

  // -- events --------------------------------------------------------------------------------------------------

  listen() {
    const signal = this.ended.signal;
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
    this.watch.observe(this.stage);
    on(window, "resize", () => this.draw());
    on(document, "visibilitychange", () => this.beat());
    keepKeys(this.root, signal, (event) => this.press(event));
    followTheme(this.root, signal);
    // Arrow keys act on keydown above, which prevents the native step of the range.
    on(this.range, "input", () => this.slide(Number(this.range.value)));
    on(this.range, "change", () => this.flush());
    on(this.stage, "pointerdown", (event) => this.grab(event));
    on(this.stage, "dblclick", (event) => this.zoom.toggleActual(this.pointOf(event)));
    on(this.stage, "wheel", (event) => this.zoom.wheel(event, this.paneOf(event)), { passive: false });
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

  choose(mode) {
    this.sync("mode", mode);
    const [left, right] = this.two.map((index) => this.images[index].name);
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
    this.secondsInput.value = String(seconds);
    this.secondsText.textContent = `${seconds.toFixed(1)} s`;
    this.play.textContent = this.isStill ? "Play" : "Pause";
    this.play.title = `${this.isStill ? "Play" : "Pause"} (space)`;
    if (this.mode === "blink" && !this.isStill && !document.hidden) {
      this.beating = setInterval(() => this.flip(), seconds * 1000);
    }
  }

  press(event) {
    if (event.target.tagName === "SELECT" || event.target === this.secondsInput) return;
    const act = this.keyOf(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  keyOf({ key, shiftKey, target }) {
    const mode = MODES.find((each) => each.key === key.toLowerCase());
    if (mode) return () => this.choose(mode.name);
    if (key === "+" || key === "=") return () => this.zoom.in();
    if (key === "-" || key === "_") return () => this.zoom.out();
    if (key.toLowerCase() === "f") return () => this.zoom.showAll();
    const [across, down] = ARROWS[key] ?? [0, 0];
    const steps = across || -down;
    if (this.buttons.includes(target)) {
      if (!across && !down) return null;
      const at = (this.buttons.indexOf(target) + (across || down) + MODES.length) % MODES.length;
      return () => {
        this.choose(MODES[at].name);
        this.buttons[at].focus();
      };
    }
    const { canPan } = this.zoom;
    if (target === this.range || (target === this.stage && this.mode === "slider" && !canPan)) {
      const to = { Home: 0, End: 100 }[key];
      if (to !== undefined) return () => this.slideTo(to);
      const step = steps * (shiftKey ? 10 : 1) || { PageUp: 10, PageDown: -10 }[key];
      return step ? () => this.slideTo(this.model.get("position") + step) : null;
    }
    if (target !== this.stage) return null;
    if (this.mode === "blink" && key === " ") return () => this.setStill(!this.isStill);
    if (this.mode === "blink" && across && !canPan) return () => this.flipByHand();
    const [width, height] = this.zoom.pane;
    const share = shiftKey ? 0.5 : 0.1;
    return across || down ? () => this.zoom.panBy(-across * width * share, -down * height * share) : null;
  }

  grab(event) {
    if (event.button !== 0) return;
    const box = this.stage.getBoundingClientRect();
    const x = event.clientX - box.left;
    const near = Math.abs(x - this.line) < GRIP_PX;
    const slides = this.mode === "slider" && (near || !this.zoom.canPan);
    if (!slides && !this.zoom.canPan) {
      this.stage.focus({ preventScroll: true });
      event.preventDefault();
      return;
    }
    event.preventDefault();
    (slides ? this.range : this.stage).focus({ preventScroll: true });
    this.stage.classList.add("cc-held");
    const offset = slides && near ? x - this.line : 0; // a press on the knob's edge does not move the line
    let before = [event.clientX, event.clientY];
    const move = ({ clientX, clientY }) => {
      if (slides) this.slide(this.positionAt(clientX - box.left - offset));
      else this.zoom.panBy(clientX - before[0], clientY - before[1]);
      before = [clientX, clientY];
    };
    if (slides && !near) move(event);
    followPointer(this.stage, event, this.ended.signal, move, () => {
      this.stage.classList.remove("cc-held");
      this.flush();
    });
  }

  positionAt(x) {
    const [from, to] = this.seen[0];
    return ((x - from) / Math.max(1, to - from)) * 100;
  }

  paneOf(event) {
    return event.target.closest?.(".cc-pane") ?? this.stage;
  }

  pointOf(event) {
    return pointIn(this.paneOf(event), event);
  }

  // -- drawing -------------------------------------------------------------------------------------------------

  /** Put the images of the current mode into their panes. */
  arrange() {
    const mode = this.mode;
    const [left, right] = this.two;
    const layer = (index, chip = "") => {
      const { name, caption } = this.images[index];
      const words = make("span", { class: `cc-chip ${chip}`, "data-index": String(index) }, make("b", {}, name));
      if (caption) words.append(make("span", {}, ` ${caption}`));
      return make("div", { class: "cc-layer" }, this.elements[index], words);
    };
    const pane = (...children) => make("div", { class: "cc-pane" }, ...children);
    this.stage.dataset.mode = mode;
    if (mode === "side") {
      this.panes = this.images.map((_, index) => pane(layer(index)));
    } else if (mode === "difference") {
      this.panes = [pane(make("div", { class: "cc-layer" }, this.heat))];
      this.heat.alt = `Where ${this.images[left].name} and ${this.images[right].name} differ`;
    } else {
      this.layers = [layer(left), layer(right, mode === "slider" ? "cc-far" : "")];
      this.panes = [pane(...this.layers, ...(mode === "slider" ? [this.handle] : []))];
    }
    const hadFocus = document.activeElement === this.range;
    this.stage.replaceChildren(...this.panes, this.note);
    if (hadFocus) (mode === "slider" ? this.range : this.stage).focus({ preventScroll: true });
    const does = { slider: "slide", blink: "blink", side: "are side by side", difference: "are subtracted" }[mode];
    const what =
      mode === "side" ? this.images.map(({ name }) => name) : [left, right].map((at) => this.images[at].name);
    this.stage.setAttribute("aria-label", `${what.join(", ")} ${does}. Plus and minus zoom, arrow keys move.`);
    MODES.forEach(({ name }, index) => {
      const isOn = name === mode;
      this.buttons[index].setAttribute("aria-checked", String(isOn));
      this.buttons[index].tabIndex = isOn ? 0 : -1;
      this.feet[name].classList.toggle("cc-off", !isOn);
      this.feet[name].inert = !isOn;
    });
    this.pair.classList.toggle("cc-off", mode === "side");
    this.pair.inert = mode === "side";
    this.selects.forEach((select, index) => {
      select.value = String(this.two[index]);
    });
    this.beat();
    this.draw();
  }

  /** Update everything that depends on sizes, zoom, position and loaded images. */
  draw() {
    if (!this.stage.clientWidth) return; // not yet in the page, or hidden: the ResizeObserver calls again
    this.measure();
    this.zoom.settle();
    const { scale, origin } = this.zoom;
    const put = (image, { x, y, width: w, height: h }) => {
      image.style.width = `${w * scale}px`;
      image.style.height = `${h * scale}px`;
      image.style.transform = `translate(${origin[0] + x * scale}px, ${origin[1] + y * scale}px)`;
    };
    for (const [index, { at }] of this.images.entries()) put(this.elements[index], at);
    put(this.heat, { x: 0, y: 0, width: this.canvas[0], height: this.canvas[1] });
    this.stage.classList.toggle("cc-pans", this.zoom.canPan);
    this.stage.classList.toggle("cc-pixels", scale >= 3);
    this.scaleText.textContent = this.zoom.text;
    this.seen = [0, 1].map((axis) => [
      Math.max(0, origin[axis]),
      Math.min(this.zoom.pane[axis], origin[axis] + this.canvas[axis] * scale),
    ]);
    this.drawChips();
    if (this.mode === "slider") this.drawSlider();
    if (this.mode === "blink") {
      for (const [index, layer] of this.layers.entries()) layer.classList.toggle("cc-off", index !== this.shown);
    }
    this.drawImages();
  }

  /** Set the height of the stage, which is the same in every mode, and the position of each pane. */
  measure() {
    const [canvasWidth, canvasHeight] = this.canvas;
    const width = this.stage.clientWidth;
    const most = clamp(window.innerHeight * 0.72, 280, 680);
    const isMany = this.images.length > 4;
    const wanted = Math.max(Math.min(canvasHeight, most), Math.min(isMany ? 480 : 320, most));
    const least = isMany ? Math.min(400, most) : 200;
    const height = Math.round(Math.max(least, Math.min(wanted, (width * canvasHeight) / canvasWidth)));
    this.stage.style.height = `${height}px`;
    const count = this.panes.length;
    let best = { scale: -Infinity };
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const size = [(width - GAP_PX * (columns - 1)) / columns, (height - GAP_PX * (rows - 1)) / rows];
      const scale = Math.min(size[0] / canvasWidth, size[1] / canvasHeight);
      if (scale > best.scale + 1e-9) best = { scale, columns, size };
    }
    this.zoom.pane = best.size;
    this.panes.forEach((pane, index) => {
      const [column, row] = [index % best.columns, Math.floor(index / best.columns)];
      pane.style.left = `${column * (best.size[0] + GAP_PX)}px`;
      pane.style.top = `${row * (best.size[1] + GAP_PX)}px`;
      pane.style.width = `${best.size[0]}px`;
      pane.style.height = `${best.size[1]}px`;
    });
  }

  /** Put the names into the corners of the visible parts of the images. */
  drawChips() {
    const { origin, scale } = this.zoom;
    for (const chip of this.stage.querySelectorAll(".cc-chip")) {
      const { at } = this.images[chip.dataset.index];
      const left = Math.max(0, origin[0] + at.x * scale);
      const right = Math.min(this.zoom.pane[0], origin[0] + (at.x + at.width) * scale);
      const top = Math.max(0, origin[1] + at.y * scale);
      const room = (right - left) * (this.mode === "slider" ? 0.5 : 1) - CHIP_PX * 2;
      const isFar = chip.classList.contains("cc-far");
      const x = isFar ? right - this.zoom.pane[0] - CHIP_PX : left + CHIP_PX;
      chip.dataset.width ??= chip.offsetWidth; // with its caption
      chip.classList.toggle("cc-brief", room < chip.dataset.width);
      chip.style.transform = `translate(${x}px, ${top + CHIP_PX}px)`;
      chip.style.maxWidth = `${Math.max(28, room)}px`;
    }
  }

  drawSlider() {
    const [width] = this.zoom.pane;
    const position = this.model.get("position");
    const [from, to] = this.seen[0];
    this.line = from + ((to - from) * position) / 100;
    this.layers[0].style.clipPath = `inset(0 ${width - this.line}px 0 0)`;
    this.layers[1].style.clipPath = `inset(0 0 0 ${this.line}px)`;
    this.handle.style.transform = `translateX(${this.line}px)`;
    this.range.value = String(position);
    const [one, other] = this.two.map((index) => this.images[index].name);
    this.range.setAttribute(
      "aria-valuetext",
      `${Math.round(position)} percent: ${one} on the left, ${other} on the right`,
    );
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
    this.elements.forEach((image, index) => {
      const shown = visible.includes(index) && mode !== "difference";
      const got = [
        { ask: "image", index },
        { ask: "preview", index },
      ].map((request) => this.loader.get(request));
      showImage(image, got.find((each) => each?.url)?.url, shown);
    });
    const found = mode === "difference" ? this.loader.get({ ask: "difference", pair }) : undefined;
    showImage(this.heat, found?.url, mode === "difference");
    if (mode === "difference") this.drawNumbers(found);
    const problems = new Set(needed.map((request) => this.loader.get(request)?.problem).filter(Boolean));
    this.say(problems, mode);
  }

  /** Return whether the preview is not enough: it would be enlarged, or the image is no larger. */
  needsFull(index) {
    const { size, at } = this.images[index];
    const longest = Math.max(...size);
    const shown = Math.max(at.width, at.height) * this.zoom.scale * (window.devicePixelRatio || 1);
    return longest <= PREVIEW_PX || shown > PREVIEW_PX;
  }

  drawNumbers(found) {
    this.numbers.textContent = found?.numbers ?? "";
    this.caveat.textContent = found?.caveat ?? "";
    this.legendTop.textContent = found?.top ? `${found.top} of 255` : "\u2026";
    this.legend.setAttribute(
      "aria-label",
      found?.top ? `Colours: dark for no difference, light for ${found.top} of 255 and more` : "",
    );
  }

  say(problems, mode) {
    const waits = mode === "difference" ? "Comparing the pixels \u2026" : "Loading the images \u2026";
    const slow = `${waits} The kernel may be busy; if it has ended, run the cell again.`;
    const isEmpty = mode === "difference" ? !this.heat.src : this.elements.every((image) => image.hidden || !image.src);
    const text =
      [...problems].join(" \u2022 ") || (this.loader.pending && isEmpty ? (this.loader.isSlow ? slow : waits) : "");
    if (this.note.textContent !== text) this.note.textContent = text;
    this.note.classList.toggle("cc-bad", problems.size > 0);
  }

  close() {
    clearInterval(this.beating);
    if (this.saving) this.flush();
    this.ended.abort();
    this.watch.disconnect();
    for (const [name, act] of Object.entries(this.modelListeners)) this.model.off(name, act);
    this.loader.close();
    for (const image of [...this.elements, this.heat]) image.removeAttribute("src");
    this.root.remove();
  }
}

function labelOf(mode) {
  return MODES.find(({ name }) => name === mode).label.join("");
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.close();
}

export default { render };

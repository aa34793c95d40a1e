// The stage of a comparison: the panes, the images in them, the names in their corners, and the slider's line.

import { clamp, ICONS, icon, make, pointIn, Zoom } from "../widgets/shared.js";

const GAP_PX = 6; // between panes
const CHIP_PX = 8; // between a name and its corner of the image

/** Return the box of an image on the common canvas: as large as it fits, in the middle. */
function fitOnCanvas([width, height], [canvasWidth, canvasHeight]) {
  const scale = Math.min(canvasWidth / width, canvasHeight / height);
  const [w, h] = [width * scale, height * scale];
  return { x: (canvasWidth - w) / 2, y: (canvasHeight - h) / 2, width: w, height: h };
}

export class Stage {
  /** `onZoom` is called when the zoom or the position of the images changed, and must draw again. */
  constructor(images, canvas, onZoom) {
    this.canvas = canvas;
    this.images = images.map((image) => ({ ...image, box: fitOnCanvas(image.size, canvas) }));
    this.zoom = new Zoom(onZoom);
    this.zoom.canvas = canvas;
    this.elements = images.map(({ name, caption }) =>
      make("img", { alt: caption ? `${name}: ${caption}` : name, draggable: "false", decoding: "async" }),
    );
    this.heat = make("img", { draggable: "false", decoding: "async", class: "cc-heat" });
    this.root = make("div", { class: "cc-stage", tabindex: "0", role: "group" });
    this.note = make("div", { class: "cc-note", role: "status" });
    this.range = make("input", {
      type: "range",
      min: "0",
      max: "100",
      step: "0.1",
      "aria-label": "Slider between the two images",
    });
    this.handle = make("div", { class: "cc-handle" }, this.range, make("div", { class: "cc-knob" }, icon(ICONS.grip)));
  }

  /** Put the images of the current mode into their panes. */
  arrange(mode, [left, right]) {
    this.mode = mode;
    const layer = (index, chip = "") => {
      const { name, caption } = this.images[index];
      const words = make("span", { class: `cc-chip ${chip}`, "data-index": String(index) }, make("b", {}, name));
      if (caption) words.append(make("span", {}, ` ${caption}`));
      return make("div", { class: "cc-layer" }, this.elements[index], words);
    };
    const pane = (...children) => make("div", { class: "cc-pane" }, ...children);
    this.root.dataset.mode = mode;
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
    this.root.replaceChildren(...this.panes, this.note);
    if (hadFocus) (mode === "slider" ? this.range : this.root).focus({ preventScroll: true });
    const does = { slider: "slide", blink: "blink", side: "are side by side", difference: "are subtracted" }[mode];
    const what =
      mode === "side" ? this.images.map(({ name }) => name) : [left, right].map((at) => this.images[at].name);
    this.root.setAttribute("aria-label", `${what.join(", ")} ${does}. Plus and minus zoom, arrow keys move.`);
  }

  /**
   * Draw everything that depends on sizes and zoom.
   * @param position of the slider, in percent
   * @param shown the index of the visible one of the two images that blink
   * @param names of the left and the right image
   */
  draw(position, shown, names) {
    this.measure();
    this.zoom.settle();
    const { scale, origin } = this.zoom;
    const put = (image, { x, y, width: w, height: h }) => {
      image.style.width = `${w * scale}px`;
      image.style.height = `${h * scale}px`;
      image.style.transform = `translate(${origin[0] + x * scale}px, ${origin[1] + y * scale}px)`;
    };
    for (const [index, { box }] of this.images.entries()) put(this.elements[index], box);
    put(this.heat, { x: 0, y: 0, width: this.canvas[0], height: this.canvas[1] });
    this.root.classList.toggle("cc-pans", this.zoom.canPan);
    this.root.classList.toggle("cc-pixels", scale >= 3);
    this.seen = [0, 1].map((axis) => [
      Math.max(0, origin[axis]),
      Math.min(this.zoom.pane[axis], origin[axis] + this.canvas[axis] * scale),
    ]);
    this.drawChips();
    if (this.mode === "slider") this.drawSlider(position, names);
    if (this.mode === "blink") {
      for (const [index, layer] of this.layers.entries()) layer.classList.toggle("cc-off", index !== shown);
    }
  }

  /** Set the height of the stage, which is the same in every mode, and the position of each pane. */
  measure() {
    const [canvasWidth, canvasHeight] = this.canvas;
    const width = this.root.clientWidth;
    const most = clamp(window.innerHeight * 0.72, 280, 680);
    const isMany = this.images.length > 4;
    const wanted = Math.max(Math.min(canvasHeight, most), Math.min(isMany ? 480 : 320, most));
    const least = isMany ? Math.min(400, most) : 200;
    const height = Math.round(Math.max(least, Math.min(wanted, (width * canvasHeight) / canvasWidth)));
    this.root.style.height = `${height}px`;
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
    for (const chip of this.root.querySelectorAll(".cc-chip")) {
      const { box } = this.images[chip.dataset.index];
      const left = Math.max(0, origin[0] + box.x * scale);
      const right = Math.min(this.zoom.pane[0], origin[0] + (box.x + box.width) * scale);
      const top = Math.max(0, origin[1] + box.y * scale);
      const room = (right - left) * (this.mode === "slider" ? 0.5 : 1) - CHIP_PX * 2;
      const isFar = chip.classList.contains("cc-far");
      const x = isFar ? right - this.zoom.pane[0] - CHIP_PX : left + CHIP_PX;
      chip.dataset.width ??= chip.offsetWidth; // with its caption
      chip.classList.toggle("cc-brief", room < chip.dataset.width);
      chip.style.transform = `translate(${x}px, ${top + CHIP_PX}px)`;
      chip.style.maxWidth = `${Math.max(28, room)}px`;
    }
  }

  drawSlider(position, [left, right]) {
    const [width] = this.zoom.pane;
    const [from, to] = this.seen[0];
    this.line = from + ((to - from) * position) / 100;
    this.layers[0].style.clipPath = `inset(0 ${width - this.line}px 0 0)`;
    this.layers[1].style.clipPath = `inset(0 0 0 ${this.line}px)`;
    this.handle.style.transform = `translateX(${this.line}px)`;
    this.range.value = String(position);
    this.range.setAttribute(
      "aria-valuetext",
      `${Math.round(position)} percent: ${left} on the left, ${right} on the right`,
    );
  }

  /** Return the position of the slider, in percent, for a point of the stage, in CSS pixels. */
  positionAt(x) {
    const [from, to] = this.seen[0];
    return ((x - from) / Math.max(1, to - from)) * 100;
  }

  paneOf(event) {
    return event.target.closest?.(".cc-pane") ?? this.root;
  }

  pointOf(event) {
    return pointIn(this.paneOf(event), event);
  }
}

// A control for each axis that is not spread into the grid, with a button that plays the axis.

import { ICONS, icon, make, makeButton } from "../widgets/shared.js";

const MAX_BUTTONS = 7;
const MAX_BUTTON_CHARACTERS = 56; // in all labels of one axis
const POLL_MS = 50; // interval of checks whether the next image has arrived

class AxisControl {
  constructor(explorer, axis) {
    this.explorer = explorer;
    this.axis = axis;
    this.given = explorer.state.axes[axis];
    this.key = `axis-${this.given.name}`;
    this.element = make("div", { class: "cx-axis", role: "group", "aria-label": this.given.label });
    this.text = make("output", {});
    const steps = [-1, 1].map((by) => {
      const words = by < 0 ? "Previous" : "Next";
      const attributes = {
        class: "cx-icon",
        "aria-label": `${words} ${this.given.label}`,
        "data-key": `${this.key}-${by}`,
      };
      return makeButton(attributes, icon(by < 0 ? ICONS.left : ICONS.right), () => explorer.step(axis, by));
    });
    this.play = makeButton({ class: "cx-icon", "data-key": `${this.key}-play` }, [], () =>
      explorer.player.toggle(axis),
    );
    this.element.append(
      make("span", { class: "cx-axis-name", title: this.given.label }, this.given.label),
      ...this.build(steps),
      this.play,
    );
  }

  build([previous, next]) {
    const { values, kind, label } = this.given;
    if (kind === "number") {
      this.range = make("input", { type: "range", min: "0", step: "1", "aria-label": label, "data-key": this.key });
      this.range.addEventListener("input", () => this.choose(this.shown[Number(this.range.value)]));
      return [this.range, this.text];
    }
    const characters = values.reduce((sum, value) => sum + value.label.length + 3, 0);
    if (values.length <= MAX_BUTTONS && characters <= MAX_BUTTON_CHARACTERS) {
      this.buttons = values.map((value, index) => {
        const attributes = { role: "radio", "data-key": `${this.key}-${index}` };
        return makeButton(attributes, value.label, () => this.choose(index));
      });
      return [make("div", { class: "cx-choices", role: "radiogroup", "aria-label": label }, ...this.buttons)];
    }
    this.select = make("select", { "aria-label": label, "data-key": this.key });
    this.select.addEventListener("change", () => this.choose(Number(this.select.value)));
    return [previous, this.select, next];
  }

  choose(index) {
    const { state } = this.explorer;
    this.explorer.go(state.placeWith(this.axis, index));
  }

  draw() {
    const { state, player, isStill } = this.explorer;
    const now = state.at[this.axis];
    const { values, label } = this.given;
    this.shown = state.shownValues(this.axis);
    if (this.range) {
      this.range.max = String(this.shown.length - 1);
      this.range.value = String(Math.max(0, this.shown.indexOf(now)));
      this.range.setAttribute("aria-valuetext", `${label} ${values[now].label}`);
      this.text.textContent = values[now].label;
      this.text.style.minWidth = `${Math.min(18, Math.max(...values.map((value) => value.label.length)))}ch`;
    }
    for (const [index, button] of (this.buttons ?? []).entries()) {
      button.setAttribute("aria-checked", String(index === now));
      button.tabIndex = index === now ? 0 : -1;
      button.hidden = !this.shown.includes(index);
    }
    if (this.select) {
      const drawn = this.shown.join();
      if (this.drawn !== drawn) {
        this.drawn = drawn;
        this.select.replaceChildren(
          ...this.shown.map((index) => make("option", { value: String(index) }, values[index].label)),
        );
      }
      this.select.value = String(now);
      this.select.title = values[now].label;
    }
    const isPlaying = player.axis === this.axis;
    const words = isStill ? `Not played: the system asks for less motion` : `${isPlaying ? "Stop" : "Play"} ${label}`;
    if (this.play.title !== words) {
      this.play.replaceChildren(icon(isPlaying ? ICONS.pause : ICONS.play));
      this.play.title = words;
      this.play.setAttribute("aria-label", words);
      this.play.setAttribute("aria-disabled", String(isStill));
    }
  }
}

/** The controls of all axes that need one, in the order of the axes. */
export class Controls {
  constructor(explorer) {
    this.explorer = explorer;
    this.element = make("div", { class: "cx-axes" });
    this.seconds = make("input", {
      type: "range",
      min: "0.2",
      max: "3",
      step: "0.1",
      "aria-label": "Seconds for each image",
      "data-key": "seconds",
    });
    this.seconds.addEventListener("input", () => explorer.setView({ seconds: Number(this.seconds.value) }));
    this.secondsText = make("output", {});
    this.speed = make("label", { class: "cx-speed" }, "Each for", this.seconds, this.secondsText);
    this.controls = [];
  }

  arrange() {
    const { state } = this.explorer;
    const { mode } = state.view;
    const spread = mode === "grid" ? Object.values(state.spread) : [];
    const pinned = mode === "two" ? state.pin?.axis : -1;
    const needed = mode === "list" ? [] : state.variedAxes.filter((axis) => !spread.includes(axis) && axis !== pinned);
    const made = JSON.stringify(needed.map((axis) => state.axes[axis]));
    if (made !== this.made) {
      this.made = made;
      this.controls = needed.map((axis) => new AxisControl(this.explorer, axis));
      this.element.replaceChildren(...this.controls.map(({ element }) => element), this.speed);
    }
    this.element.hidden = !needed.length;
  }

  draw() {
    for (const control of this.controls) control.draw();
    const { seconds } = this.explorer.state.view;
    this.speed.hidden = this.explorer.player.axis === null;
    this.seconds.value = String(seconds);
    this.secondsText.textContent = `${seconds.toFixed(1)} s`;
  }

  /** The control that has the focus, if one has. */
  get focused() {
    return this.controls.find(({ element }) => element.contains(document.activeElement));
  }
}

/** Steps along one axis, as fast as the images arrive. */
export class Player {
  constructor(explorer) {
    this.explorer = explorer;
    this.axis = null;
  }

  toggle(axis) {
    if (this.axis === axis) this.stop();
    else this.start(axis);
  }

  start(axis) {
    if (this.explorer.isStill || axis === undefined || axis < 0) return;
    this.axis = axis;
    this.since = performance.now();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.tick(), POLL_MS);
    this.explorer.schedule();
  }

  stop() {
    if (this.axis === null) return;
    this.axis = null;
    clearInterval(this.timer);
    this.explorer.schedule();
  }

  get next() {
    return this.explorer.state.stepFrom(this.explorer.state.at, this.axis, 1, { wraps: true });
  }

  tick() {
    const now = performance.now();
    if (document.hidden || now - this.since < this.explorer.state.view.seconds * 1000) return;
    const { next } = this;
    if (!this.explorer.isReady(next)) return;
    this.since = now;
    this.explorer.go(next);
  }
}

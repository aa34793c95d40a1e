// The controls of a comparison: the modes, the two images, the zoom, and a line for each mode below the stage.

import { ICONS, icon, make, makeButton } from "../widgets/shared.js";

export const MODES = [
  { name: "slider", label: ["Slider"], key: "s" },
  { name: "blink", label: ["Blink"], key: "b" },
  { name: "side", label: ["Side", " by side"], key: "g" },
  { name: "difference", label: ["Difference"], key: "d" },
];

export function labelOf(mode) {
  return MODES.find(({ name }) => name === mode).label.join("");
}

/** Builds the controls and displays their state. The view decides what they do. */
export class Controls {
  /**
   * @param content the texts of the comparison, with its images
   * @param zoom the zoom, which its buttons change
   * @param acts choose(mode), pick(side, index), swap(), setPace(seconds) and togglePlay()
   */
  constructor(content, zoom, acts) {
    this.images = content.images;
    this.zoom = zoom;
    this.acts = acts;
    this.bar = make("div", { class: "cc-bar" }, this.buildModes(), this.buildPair(), this.buildZoom());
    this.foot = this.buildFoot(content.heat);
  }

  buildModes() {
    this.buttons = MODES.map(({ name, label: [first, rest], key }) => {
      const words = rest ? [first, make("span", { class: "cc-rest" }, rest)] : [first];
      const title = `${labelOf(name)} (key ${key})`;
      return makeButton({ role: "radio", title, "aria-label": labelOf(name) }, words, () => this.acts.choose(name));
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
      select.addEventListener("change", () => this.acts.pick(side, Number(select.value)));
      return select;
    });
    const swap = makeButton(
      { class: "cc-icon", title: "Swap", "aria-label": "Swap the two images" },
      icon(ICONS.swap),
      () => this.acts.swap(),
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

  buildFoot(heat) {
    this.play = makeButton({ class: "cc-play" }, [], () => this.acts.togglePlay());
    this.secondsInput = make("input", {
      type: "range",
      min: "0.4",
      max: "3",
      step: "0.1",
      "aria-label": "Seconds for each image",
    });
    this.secondsInput.addEventListener("input", () => this.acts.setPace(Number(this.secondsInput.value)));
    this.secondsText = make("output", {});
    this.legend = make("div", { class: "cc-legend", role: "img" });
    this.legendTop = make("span", {});
    this.numbers = make("b", {});
    this.caveat = make("span", {});
    const stops = heat.map(([stop, colour]) => `rgb(${colour.join(" ")}) ${stop * 100}%`);
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

  /** Display the mode and the two chosen images. */
  showMode(mode, two) {
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
      select.value = String(two[index]);
    });
  }

  showPace(seconds, isStill) {
    this.secondsInput.value = String(seconds);
    this.secondsText.textContent = `${seconds.toFixed(1)} s`;
    this.play.textContent = isStill ? "Play" : "Pause";
    this.play.title = `${isStill ? "Play" : "Pause"} (space)`;
  }

  showZoom() {
    this.scaleText.textContent = this.zoom.text;
  }

  /** Display the numbers of a difference, or nothing while they are computed. */
  showNumbers(found) {
    this.numbers.textContent = found?.numbers ?? "";
    this.caveat.textContent = found?.caveat ?? "";
    this.legendTop.textContent = found?.top ? `${found.top} of 255` : "\u2026";
    this.legend.setAttribute(
      "aria-label",
      found?.top ? `Colours: dark for no difference, light for ${found.top} of 255 and more` : "",
    );
  }
}

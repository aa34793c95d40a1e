// The toolbar of an explorer: view mode, spread axes, filters, order and size.

import { clamp, ICONS, icon, make, makeButton } from "../widgets/shared.js";
import { MIN_SIZE } from "./state.js";

const VIEWS = [
  { name: "image", label: "Image", title: "One large image" },
  { name: "two", label: "Two", title: "Two images side by side" },
  { name: "grid", label: "Grid", title: "A grid over axes" },
  { name: "list", label: "List", title: "All images in order" },
];
const ROLES = [
  { role: "x", label: "Columns", isOuter: false },
  { role: "y", label: "Rows", isOuter: false },
  { role: "outer_x", label: "Outer columns", isOuter: true },
  { role: "outer_y", label: "Outer rows", isOuter: true },
];
const MAX_SIZE = 512;

export class Toolbar {
  constructor(explorer, filters) {
    this.explorer = explorer;
    this.filters = filters;
    this.filter = this.buildFilter(); // in the head, above the bar
    this.orders = this.buildOrder();
    this.element = make(
      "div",
      { class: "cx-bar" },
      this.buildViews(),
      this.buildPins(),
      this.buildSpread(),
      make("span", { class: "cx-space" }),
      this.buildSize(),
      this.buildZoom(),
    );
  }

  iconButton(key, label, child, act, title = label) {
    return makeButton({ class: "cx-icon", title, "aria-label": label, "data-key": key }, child, act);
  }

  buildViews() {
    this.views = VIEWS.map(({ name, label, title }) =>
      makeButton({ role: "radio", title, "data-key": `view-${name}` }, label, () => this.explorer.setMode(name)),
    );
    return make("div", { class: "cx-choices", role: "radiogroup", "aria-label": "View" }, ...this.views);
  }

  buildSpread() {
    const { explorer } = this;
    this.spread = ROLES.map(({ role, label, isOuter }) => {
      const select = make("select", { "aria-label": label, "data-key": `spread-${role}` });
      select.addEventListener("change", () => explorer.spread(role, select.value));
      const flip = this.iconButton(
        `flip-${role}`,
        `Flip ${label.toLowerCase()}`,
        icon(/x$/.test(role) ? ICONS.across : ICONS.down),
        () => explorer.flip(role),
      );
      const element = make("label", { class: "cx-spread" }, make("span", {}, label), select);
      return { role, isOuter, select, flip, element: make("span", { class: "cx-spread-of" }, element, flip) };
    });
    const swap = this.iconButton("swap", "Swap columns and rows", icon(ICONS.swap), () => explorer.swap());
    const [x, ...others] = this.spread.map(({ element }) => element);
    this.spreads = make("div", { class: "cx-group-of" }, x, swap, ...others);
    return this.spreads;
  }

  /** The two values that two panes show. */
  buildPins() {
    const { explorer } = this;
    this.pinAxis = make("select", { "aria-label": "Axis of the two panes", "data-key": "pin-axis" });
    this.pinAxis.addEventListener("change", () => explorer.panes.chooseAxis(this.pinAxis.value));
    this.pinValues = [0, 1].map((pane) => {
      const select = make("select", { "aria-label": pane ? "Right pane" : "Left pane", "data-key": `pin-${pane}` });
      select.addEventListener("change", () => explorer.panes.chooseValue(pane, Number(select.value)));
      return select;
    });
    const swap = this.iconButton("pin-swap", "Swap the two panes", icon(ICONS.swap), () => explorer.panes.swap());
    const [left, right] = this.pinValues;
    this.pins = make("div", { class: "cx-group-of" }, this.pinAxis, left, swap, right);
    return this.pins;
  }

  buildFilter() {
    this.filterText = make("span", {}, "Filter");
    const attributes = { class: "cx-with-icon", "data-key": "filter", "aria-expanded": "false" };
    return makeButton(attributes, [icon(ICONS.filter), this.filterText], () => this.filters.toggle());
  }

  buildOrder() {
    const { explorer } = this;
    this.order = make("select", { "aria-label": "Order", "data-key": "order" });
    this.order.addEventListener("change", () => explorer.sort(this.order.value, 1));
    this.direction = this.iconButton("direction", "Ascending", [], () => {
      const { name, sign } = explorer.state.order;
      if (name) explorer.sort(name, -sign);
    });
    return make(
      "span",
      { class: "cx-spread-of" },
      make("label", { class: "cx-spread" }, make("span", {}, "Order"), this.order),
      this.direction,
    );
  }

  buildSize() {
    this.size = make("input", {
      type: "range",
      min: String(MIN_SIZE),
      max: String(MAX_SIZE),
      step: "8",
      "aria-label": "Size of a cell",
      "data-key": "size",
    });
    this.size.addEventListener("input", () => this.explorer.setView({ size: Number(this.size.value) }));
    this.sizes = make("label", { class: "cx-spread" }, make("span", {}, "Size"), this.size);
    return this.sizes;
  }

  buildZoom() {
    const zoom = () => this.explorer.stage.zoom;
    this.scale = make("output", { "aria-label": "Zoom" });
    this.zoom = make(
      "div",
      { class: "cx-zoom", role: "group", "aria-label": "Zoom" },
      this.iconButton("zoom-out", "Zoom out", icon(ICONS.minus), () => zoom().out(), "Zoom out (key -)"),
      this.scale,
      this.iconButton("zoom-in", "Zoom in", icon(ICONS.plus), () => zoom().in(), "Zoom in (key +)"),
      this.iconButton("fit", "Fit", "Fit", () => zoom().showAll(), "Fit (key f)"),
      this.iconButton(
        "actual",
        "Actual pixels",
        "1:1",
        () => zoom().showActual(),
        "One pixel of the image on one of the screen",
      ),
    );
    return this.zoom;
  }

  arrange() {
    const { state } = this.explorer;
    const { mode, flipped, size } = state.view;
    const varied = state.variedAxes;
    for (const [index, { name }] of VIEWS.entries()) {
      this.views[index].setAttribute("aria-checked", String(name === mode));
      this.views[index].tabIndex = name === mode ? 0 : -1;
    }
    this.views[1].hidden = !varied.length;
    this.views[2].hidden = !varied.length;
    this.spreads.hidden = mode !== "grid";
    this.pins.hidden = mode !== "two";
    this.sizes.hidden = mode !== "grid" && mode !== "list";
    this.zoom.hidden = !this.sizes.hidden;
    const names = varied.map((axis) => state.axes[axis]);
    for (const { role, isOuter, select, flip, element } of this.spread) {
      const now = state.axes[state.spread[role]]?.name ?? "";
      fill(select, [["", "none"], ...names.map(({ name, label }) => [name, label])], now);
      element.hidden = isOuter && varied.length < 3;
      flip.hidden = !now;
      flip.setAttribute("aria-pressed", String(flipped.includes(now)));
    }
    const axes = names.map(({ name, label }) => [name, label]);
    const columns = state.columns.map(({ name }) => [name, name]);
    const orders = [
      ["", "sweep order"],
      ["ref", "reference"],
      ...axes,
      ["rating", "rating"],
      ["status", "status"],
      ...columns,
    ];
    const { name, sign } = state.order;
    fill(this.order, orders, name);
    this.direction.replaceChildren(icon(sign > 0 ? ICONS.up : ICONS.fall));
    const words = sign > 0 ? "Ascending" : "Descending";
    this.direction.title = words;
    this.direction.setAttribute("aria-label", words);
    this.direction.hidden = !name;
    this.size.value = String(clamp(size || this.explorer.sheet.layout?.cell[0] || 160, MIN_SIZE, MAX_SIZE));
    this.filter.setAttribute("aria-expanded", String(this.filters.isOpen));
    const count = this.filters.drawSummary();
    this.filterText.textContent = count ? `Filter (${count})` : "Filter";
  }

  /** The current combination decides which of the two panes is the active one. */
  drawPins() {
    const { state } = this.explorer;
    const { pin } = state;
    if (!pin || this.pins.hidden) return;
    const names = state.variedAxes.map((axis) => state.axes[axis]);
    const { name, values } = state.axes[pin.axis];
    fill(
      this.pinAxis,
      names.map((axis) => [axis.name, axis.label]),
      name,
    );
    for (const [pane, select] of this.pinValues.entries()) {
      fill(
        select,
        values.map(({ label }, index) => [String(index), label]),
        String(pin.values[pane]),
      );
      select.classList.toggle("cx-active", pin.active === pane);
    }
  }

  draw() {
    this.drawPins();
    this.scale.textContent = this.explorer.stage.zoom.text;
  }
}

/** Fill a select with pairs of value and text, if they have changed. */
function fill(select, pairs, value) {
  const made = JSON.stringify(pairs);
  if (select.made !== made) {
    select.made = made;
    select.replaceChildren(...pairs.map(([each, text]) => make("option", { value: each }, text)));
  }
  select.value = value;
}

// The filters: by the values of axes, status, rating, columns, and a condition that Python evaluates.

import { make, makeButton } from "../widgets/shared.js";
import { RATINGS } from "./state.js";

const MAX_CHIPS = 12; // values of a text column; with more, the user types a condition

export class Filters {
  constructor(explorer) {
    this.explorer = explorer;
    this.isOpen = false;
    this.chips = [];
    this.element = make("div", { class: "cx-filters", role: "region", "aria-label": "Filter" });
    this.summary = make("div", { class: "cx-summary" });
  }

  toggle() {
    this.isOpen = !this.isOpen;
    this.explorer.schedule(true);
  }

  /** Rebuild the panel if the values in the document have changed. */
  arrange() {
    this.element.hidden = !this.isOpen;
    if (!this.isOpen) return;
    const { state } = this.explorer;
    const choices = this.choices();
    const made = JSON.stringify([choices, state.columns]);
    if (made !== this.made) {
      this.made = made;
      this.chips = [];
      this.inputs = [];
      const groups = choices.map((choice) => this.buildGroup(choice));
      const numbers = state.columns
        .filter((column) => column.kind === "number")
        .map((column) => this.buildRange(column));
      this.element.replaceChildren(...this.buildCondition(), ...groups, ...numbers);
    }
    this.draw();
  }

  /** The groups of values to choose from: a label, the group and name of the filter, and its values. */
  choices() {
    const { state } = this.explorer;
    const axes = state.variedAxes.map((axis) => {
      const { name, label, values } = state.axes[axis];
      return { label, group: "axes", name, values: values.map((value, index) => [index, value.label]) };
    });
    const statuses = [...state.statuses.keys()].sort();
    const status = { label: "status", group: "status", name: null, values: statuses.map((each) => [each, each]) };
    const rating = {
      label: "rating",
      group: "rating",
      name: null,
      values: RATINGS.map((each) => [each, /\d/.test(each) ? `\u2605${each}` : each]),
    };
    const columns = state.columns
      .filter(({ kind }) => kind !== "number")
      .map((column) => {
        const values = [...new Set(state.entries.map((entry) => String(state.valueOf(entry, column) ?? "")))].sort();
        return {
          label: column.name,
          group: "columns",
          name: column.name,
          values: values.map((each) => [each, each || "none"]),
        };
      });
    return [...axes, ...(statuses.length > 1 ? [status] : []), rating, ...columns];
  }

  buildGroup({ label, group, name, values }) {
    const buttons = values.map(([value, text]) => {
      const key = `filter-${group}-${name}-${value}`;
      const button = makeButton({ class: "cx-chip", "data-key": key, title: text }, text, () =>
        this.switch(group, name, value),
      );
      this.chips.push({ button, group, name, value });
      return button;
    });
    const list = make("div", { class: values.length > MAX_CHIPS ? "cx-chips cx-many" : "cx-chips" }, ...buttons);
    return make("div", { class: "cx-group", role: "group", "aria-label": label }, make("span", {}, label), list);
  }

  buildRange({ name }) {
    const inputs = ["min", "max"].map((side) => {
      const words = side === "min" ? "from" : "to";
      const input = make("input", {
        type: "number",
        step: "any",
        placeholder: words,
        "aria-label": `${name} ${words}`,
        "data-key": `filter-${name}-${side}`,
      });
      input.addEventListener("change", () => {
        const filter = { ...this.valueOf("columns", name) };
        if (input.value === "") delete filter[side];
        else filter[side] = Number(input.value);
        this.explorer.setFilter("columns", name, filter);
      });
      this.inputs.push({ input, name, side });
      return input;
    });
    return make(
      "div",
      { class: "cx-group", role: "group", "aria-label": name },
      make("span", {}, name),
      make("div", { class: "cx-chips" }, ...inputs),
    );
  }

  buildCondition() {
    if (this.explorer.isOffline) return [];
    this.where = make("input", {
      type: "text",
      placeholder: "cfg > 4 and rating >= 3",
      "aria-label": "Condition",
      "data-key": "where",
    });
    this.where.addEventListener("change", () => this.explorer.set("where", this.where.value.trim()));
    this.problem = make("span", { class: "cx-problem", role: "status" });
    return [make("div", { class: "cx-group" }, make("span", {}, "where"), this.where, this.problem)];
  }

  valueOf(group, name) {
    const found = this.explorer.state.filters[group];
    return name === null ? found : found?.[name];
  }

  switch(group, name, value) {
    const kept = [this.valueOf(group, name) ?? []].flat();
    const next = kept.includes(value) ? kept.filter((each) => each !== value) : [...kept, value];
    this.explorer.setFilter(group, name, next);
  }

  draw() {
    for (const { button, group, name, value } of this.chips) {
      button.setAttribute("aria-pressed", String([this.valueOf(group, name) ?? []].flat().includes(value)));
    }
    for (const { input, name, side } of this.inputs) {
      if (!input.matches(":focus")) input.value = this.valueOf("columns", name)?.[side] ?? "";
    }
    if (!this.where) return;
    const { model } = this.explorer;
    if (!this.where.matches(":focus")) this.where.value = model.get("where") ?? "";
    this.problem.textContent = model.get("_where_problem") ?? "";
  }

  /** Draw a chip for each active filter. A click on the chip removes the filter. */
  drawSummary() {
    const { state, model } = this.explorer;
    const found = [];
    const where = model.get("where");
    if (where) found.push([`where ${where}`, () => this.explorer.set("where", "")]);
    for (const [group, value] of Object.entries(state.filters)) {
      if (Array.isArray(value)) {
        found.push([`${group} ${value.join(", ")}`, () => this.explorer.setFilter(group, null, [])]);
        continue;
      }
      for (const [name, inner] of Object.entries(value ?? {})) {
        const axis = group === "axes" ? state.axes[state.axisOf(name)] : null;
        const words = Array.isArray(inner)
          ? inner.map((each) => (axis ? (axis.values[each]?.label ?? "") : each || "none")).join(", ")
          : Object.entries(inner)
              .map(([side, number]) => `${side === "min" ? "from" : "to"} ${number}`)
              .join(" ");
        found.push([`${axis?.label ?? name} ${words}`, () => this.explorer.setFilter(group, name, null)]);
      }
    }
    const made = JSON.stringify(found.map(([words]) => words));
    if (made !== this.summaryMade) {
      this.summaryMade = made;
      const chips = found.map(([words, act], index) =>
        makeButton(
          { class: "cx-chip cx-set", title: `Remove this filter: ${words}`, "data-key": `set-${index}` },
          [make("span", {}, words), " \u00d7"],
          act,
        ),
      );
      const clear = makeButton({ class: "cx-link", "data-key": "clear" }, "Clear all", () =>
        this.explorer.clearFilters(),
      );
      this.summary.replaceChildren(...chips, ...(found.length > 1 ? [clear] : []));
    }
    this.summary.hidden = !found.length;
    return found.length;
  }
}

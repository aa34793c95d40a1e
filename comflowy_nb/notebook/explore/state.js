// The state of an explorer: the document, the current combination, filters and order. It draws nothing and sends nothing.

import { clamp } from "../widgets/shared.js";

export const MIN_SIZE = 56; // of a cell, in pixels
export const RATINGS = ["5", "4", "3", "2", "1", "unrated", "rejected"];

const SPREADS = ["x", "y", "outer_x", "outer_y"];
const DEFAULT_VIEW = { mode: "", flipped: [], pin: null, size: 0, seconds: 0.8, moveOn: true };
const MODES = ["image", "two", "grid", "list"];
const MIN_SECONDS = 0.2;
const MAX_SECONDS = 3;

const asList = (value) => (Array.isArray(value) ? value : []);
const asRecord = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});

/** Return a record without empty filters. */
const keepValues = (value) =>
  Object.fromEntries(Object.entries(asRecord(value)).filter(([, each]) => each && Object.keys(each).length));

/** Compare two values for sorting. Missing values come last in both directions. */
function compareValues(one, other, sign) {
  const [noOne, noOther] = [one, other].map((value) => value === null || value === undefined || value === "");
  if (noOne || noOther) return noOne - noOther;
  if (typeof one === "number" && typeof other === "number") return (one - other) * sign;
  return String(one).localeCompare(String(other), undefined, { numeric: true }) * sign;
}

export class Exploration {
  constructor(model) {
    this.model = model;
    this.axes = [];
    this.columns = [];
    this.load({});
  }

  // -- the document --------------------------------------------------------------------------------------------

  load(given) {
    this.title = given.title ?? "";
    this.items = new Map();
    this.update(given);
  }

  /** Replace the items with the same ids. `axes` and `columns` are set only if they have changed. */
  update({ items = [], axes = this.axes, columns = this.columns }) {
    this.axes = axes;
    this.columns = columns;
    this.imageAxis = axes.findIndex(({ role }) => role === "image"); // `at` of an item omits it
    for (const item of items) this.items.set(item.id, item);
    this.byPlace = new Map();
    this.imagesByKey = new Map();
    this.entries = []; // of the list: each image, and each cell without an image
    for (const item of this.items.values()) {
      const place = item.at.join();
      const before = this.byPlace.get(place);
      if (!before || item.images.length || !before.images.length) this.byPlace.set(place, item);
      for (const image of item.images)
        this.imagesByKey.set(image.key, [...(this.imagesByKey.get(image.key) ?? []), image]);
      const count = this.imageAxis < 0 ? 1 : Math.max(1, item.images.length);
      for (let index = 0; index < count; index += 1) this.entries.push(this.entryOf(item, index));
    }
    this.forget();
  }

  /** Return the entry of an item and one of its images. */
  entryOf(item, index) {
    const place = [...item.at];
    if (this.imageAxis >= 0) place.splice(this.imageAxis, 0, index);
    return { item, image: item.images[index] ?? null, place, id: `${item.id}-${index}` };
  }

  /** Return the entry of a combination. It has no item if no cell has this combination. */
  entryAt(place) {
    const at = place.filter((_, axis) => axis !== this.imageAxis);
    const item = this.byPlace.get(at.join());
    if (item) return this.entryOf(item, this.imageAxis < 0 ? 0 : place[this.imageAxis]);
    return { item: null, image: null, place, id: `none-${place.join("-")}` };
  }

  // -- the current combination ---------------------------------------------------------------------------------

  /** The index on each axis. An invalid index of the model becomes the nearest valid one. */
  get at() {
    const given = asList(this.model.get("_at"));
    return this.axes.map(({ values }, axis) => clamp(Math.trunc(Number(given[axis])) || 0, 0, values.length - 1));
  }

  get current() {
    return this.entryAt(this.at);
  }

  placeWith(axis, index, place = this.at) {
    return place.map((value, each) => (each === axis ? index : value));
  }

  axisOf(name) {
    return this.axes.findIndex((axis) => axis.name === name);
  }

  /** The axes with more than one value. Others need no control. */
  get variedAxes() {
    return this.axes.map((_, axis) => axis).filter((axis) => this.axes[axis].values.length > 1);
  }

  /** The axes of columns, rows, outer columns and outer rows: an index, or -1. An axis is spread once. */
  get spread() {
    const used = new Set();
    const found = {};
    for (const name of SPREADS) {
      const axis = this.axisOf(this.model.get(name));
      found[name] = used.has(axis) ? -1 : axis;
      used.add(axis);
    }
    return found;
  }

  get hasSpread() {
    return Object.values(this.spread).some((axis) => axis >= 0);
  }

  /** Spread an axis. If it was spread already, swap the two axes. */
  setSpread(role, name) {
    const before = this.model.get(role) ?? "";
    for (const other of SPREADS) {
      if (other !== role && name && this.model.get(other) === name) this.model.set(other, before);
    }
    this.model.set(role, name);
  }

  /** Spread the first two axes if no axis is spread. */
  spreadFirst() {
    if (this.hasSpread) return;
    const [x, y] = this.variedAxes;
    if (x !== undefined) this.model.set("x", this.axes[x].name);
    if (y !== undefined) this.model.set("y", this.axes[y].name);
  }

  /** The values of an axis that are shown, in the order of the screen. */
  shownValues(axis) {
    const { name, values } = this.axes[axis];
    const kept = asList(asRecord(this.filters.axes)[name]);
    const shown = values.map((_, index) => index).filter((index) => !kept.length || kept.includes(index));
    const all = shown.length ? shown : values.map((_, index) => index);
    return this.view.flipped.includes(name) ? all.reverse() : all;
  }

  /** The axes that arrow keys step along: left and right, up and down. */
  get arrowAxes() {
    const { x, y } = this.spread;
    const across = x >= 0 ? x : (this.variedAxes.find((axis) => axis !== y) ?? -1);
    const down = y >= 0 ? y : (this.variedAxes.find((axis) => axis !== across) ?? -1);
    return [across, down];
  }

  /** Return the combination one step along an axis: the next that the filter shows, else the next. */
  stepFrom(place, axis, by, { wraps = false } = {}) {
    const values = this.shownValues(axis);
    const start = values.indexOf(place[axis]);
    const places = [];
    for (let index = start + by; index >= 0 && index < values.length; index += by) {
      places.push(this.placeWith(axis, values[index], place));
    }
    const found = places.find((each) => this.matches(this.entryAt(each))) ?? places[0];
    if (found) return found;
    return wraps ? this.placeWith(axis, values[by > 0 ? 0 : values.length - 1], place) : place;
  }

  // -- the view ------------------------------------------------------------------------------------------------

  get view() {
    const given = { ...DEFAULT_VIEW, ...asRecord(this.model.get("_view")) };
    const mode = MODES.includes(given.mode) ? given.mode : "grid";
    return {
      ...given,
      mode: mode === "grid" && !this.hasSpread ? "image" : mode,
      flipped: asList(given.flipped),
      seconds: clamp(Number(given.seconds) || DEFAULT_VIEW.seconds, MIN_SECONDS, MAX_SECONDS),
      size: Number(given.size) || 0,
    };
  }

  setView(changes) {
    this.model.set("_view", { ...this.view, ...changes });
  }

  /** The axis and the two values that two panes show side by side. */
  get pin() {
    const { pin } = this.view;
    const wanted = this.axisOf(pin?.axis);
    const axis = wanted >= 0 ? wanted : this.firstPinned();
    if (axis < 0) return null;
    const last = this.axes[axis].values.length - 1;
    const now = this.at[axis];
    const given = wanted >= 0 ? asList(pin.values) : [now, now < last ? now + 1 : now - 1];
    const values = [0, 1].map((pane) => clamp(Math.trunc(Number(given[pane])) || 0, 0, last));
    const active = values.indexOf(now);
    if (active >= 0) return { axis, values, active };
    return { axis, values: [now, values[1]], active: 0 };
  }

  firstPinned() {
    const { variedAxes } = this;
    return variedAxes.find((axis) => this.axes[axis].role === "sweep") ?? variedAxes[0] ?? -1;
  }

  /** The references of the marked images. */
  get selected() {
    return asList(this.model.get("selected"));
  }

  // -- filters and order ---------------------------------------------------------------------------------------

  get filters() {
    const { axes, status, rating, columns } = asRecord(this.model.get("_filters"));
    const found = {
      axes: keepValues(axes),
      status: asList(status),
      rating: asList(rating),
      columns: keepValues(columns),
    };
    return Object.fromEntries(Object.entries(found).filter(([, value]) => Object.keys(value).length));
  }

  /** Change one filter: `group` is axes or columns, with a name, or status or rating. An empty filter is removed. */
  setFilter(group, name, value) {
    const isEmpty = !value || (Array.isArray(value) ? !value.length : !Object.keys(value).length);
    const filters = { ...this.filters };
    if (name === null) {
      filters[group] = value;
      if (isEmpty) delete filters[group];
    } else {
      const inner = { ...asRecord(filters[group]), [name]: value };
      if (isEmpty) delete inner[name];
      filters[group] = inner;
      if (!Object.keys(inner).length) delete filters[group];
    }
    this.model.set("_filters", filters);
    this.forget();
  }

  clearFilters() {
    this.model.set("_filters", {});
    this.model.set("where", "");
    this.forget();
  }

  valueOf(entry, column) {
    if (column.source === "score") return entry.image?.scores?.[column.name] ?? null;
    return entry.item?.values?.[column.name] ?? null;
  }

  matches(entry) {
    const { item, image } = entry;
    const { status, rating, columns, axes } = this.filters;
    const matching = this.model.get("_matching");
    if (Array.isArray(matching) && !(item && matching.includes(item.id))) return false;
    for (const [name, kept] of Object.entries(asRecord(axes))) {
      const axis = this.axisOf(name);
      if (axis >= 0 && asList(kept).length && !kept.includes(entry.place[axis])) return false;
    }
    if (asList(status).length && !status.includes(item?.status ?? "not asked")) return false;
    if (asList(rating).length && !ratingsOf(image).some((each) => rating.includes(each))) return false;
    for (const column of this.columns) {
      const wanted = asRecord(columns)[column.name];
      if (wanted === undefined) continue;
      const value = this.valueOf(entry, column);
      if (Array.isArray(wanted)) {
        if (wanted.length && !wanted.includes(String(value ?? ""))) return false;
      } else {
        const { min = -Infinity, max = Infinity } = asRecord(wanted);
        if (value === null || value < min || value > max) return false;
      }
    }
    return true;
  }

  get isFiltered() {
    return Object.keys(this.filters).length > 0 || Array.isArray(this.model.get("_matching"));
  }

  /** The name and the direction of the order. */
  get order() {
    const text = String(this.model.get("sort") ?? "");
    return { name: text.replace(/^-/, ""), sign: text.startsWith("-") ? -1 : 1 };
  }

  /** Clear the values computed from the document, the filters and the order. */
  forget() {
    this.found = null;
  }

  /** The entries that match the filters, in order. */
  get visible() {
    if (this.found) return this.found;
    const { name, sign } = this.order;
    const entries = this.entries.filter((entry) => this.matches(entry));
    const key = this.sortKey(name);
    if (key) entries.sort((one, other) => compareValues(key(one), key(other), sign));
    this.found = entries;
    return entries;
  }

  sortKey(name) {
    if (!name) return null;
    const axis = this.axisOf(name);
    if (axis >= 0) return ({ place }) => place[axis];
    if (name === "rating") return ({ image }) => (image?.rejected ? 0 : (image?.rating ?? null));
    if (name === "ref") return ({ item }) => item.id;
    if (name === "status") return ({ item }) => item.status;
    const column = this.columns.find((each) => each.name === name);
    return column ? (entry) => this.valueOf(entry, column) : null;
  }

  /** Return the next unrated entry, in the order of the list or the grid. Continue at the start after the last entry. */
  nextUnrated(after, { isGrid = false } = {}) {
    let entries = this.visible;
    if (isGrid && !this.order.name) {
      const { x, y, outer_x: outerX, outer_y: outerY } = this.spread;
      const spread = [outerY, y, outerX, x].filter((axis) => axis >= 0);
      const reading = [...this.axes.keys()].filter((axis) => !spread.includes(axis)).concat(spread);
      const rank = new Map(reading.map((axis) => [axis, this.shownValues(axis)]));
      const difference = (one, other) => {
        for (const axis of reading) {
          const found = rank.get(axis).indexOf(one.place[axis]) - rank.get(axis).indexOf(other.place[axis]);
          if (found) return found;
        }
        return 0;
      };
      entries = [...entries].sort(difference);
    }
    const start = entries.findIndex(({ place }) => place.join() === after.place.join());
    const following = [...entries.slice(start + 1), ...entries.slice(0, Math.max(0, start))];
    return following.find(({ image }) => image && image.rating === null && !image.rejected) ?? null;
  }

  /** The number of cells of each status. */
  get statuses() {
    const counts = new Map();
    for (const { status } of this.items.values()) counts.set(status, (counts.get(status) ?? 0) + 1);
    return counts;
  }

  /** Describe a combination by the axes that vary. */
  describe(place) {
    return this.variedAxes
      .map((axis) => `${this.axes[axis].label} ${this.axes[axis].values[place[axis]].label}`)
      .join(", ");
  }
}

/** Return the values of an image for the rating filter. */
function ratingsOf(image) {
  if (!image) return [];
  const found = [image.rating === null ? "unrated" : String(image.rating)];
  return image.rejected ? ["rejected"] : found;
}

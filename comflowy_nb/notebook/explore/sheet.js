// The grid over axes, and the list of all images. Only the cells in sight, and one row around them, have elements.

import { clamp, make } from "../widgets/shared.js";
import { CellView } from "./cells.js";
import { MIN_SIZE } from "./state.js";

const GAP = 4;
const GROUP_GAP = 16; // between the groups of an outer axis
const BAND = 28; // height of the heading of a group of rows
const LINE = 40; // height of the text below an image of the list
const LIST_SIZE = 168;
const MAX_AUTO_SIZE = 280;
const MIN_FIT_SIZE = 128; // cells are not made smaller than this so that all rows are in sight
const CHARACTER = 8; // width of a character, in pixels
const MAX_VIDEOS = 12; // full videos and animations that play at once
const HEAD_LINE = 19;

/** Return the lines of a grid in one direction: their positions, and those of the groups of an outer axis. */
function layLines(groups, values, size, band) {
  const lines = [];
  const outer = [];
  let at = 0;
  for (const [number, group] of groups.entries()) {
    if (number) at += GROUP_GAP;
    const start = at;
    at += band;
    for (const value of values) {
      lines.push({ at, value, group });
      at += size + GAP;
    }
    if (group !== null) outer.push({ at: start, size: at - GAP - start, group });
  }
  return { lines, outer, size: Math.max(0, at - GAP) };
}

/** Return the first and the last line that is in sight, with one more on each side. */
function linesInSight(lines, size, from, to) {
  let first = 0;
  let last = lines.length - 1;
  while (first < last && lines[first].at + size < from) first += 1;
  while (last > first && lines[last].at > to) last -= 1;
  return [Math.max(0, first - 1), Math.min(lines.length - 1, last + 1)];
}

export class Sheet {
  constructor(explorer) {
    this.explorer = explorer;
    this.state = explorer.state;
    this.name = `cx-${explorer.kernel.view}`;
    this.cells = new Map();
    this.rows = new Map();
    this.heads = make("div", { class: "cx-heads", role: "row" });
    this.canvas = make("div", { class: "cx-canvas", role: "presentation" }, this.heads);
    this.empty = make("p", { class: "cx-empty" });
    this.element = make("div", { class: "cx-sheet", role: "grid", tabindex: "0", "data-key": "sheet" }, this.canvas);
    this.root = make("div", { class: "cx-sheet-frame" }, this.element, this.empty);
    this.element.addEventListener("scroll", () => explorer.schedule());
    this.element.addEventListener("click", (event) => this.click(event));
  }

  click(event) {
    const cell = event.target.closest(".cx-cell");
    const found = [...this.cells.values()].find(({ element }) => element === cell);
    if (!found) return;
    const { entry } = found;
    this.element.focus({ preventScroll: true });
    this.explorer.go(entry.place);
    if (event.shiftKey || event.ctrlKey || event.metaKey) this.explorer.review.mark();
    else this.explorer.enlarge();
  }

  get isList() {
    return this.state.view.mode === "list";
  }

  /** The ratio of width to height of most images: of the first whose size is known. */
  get aspect() {
    for (const { images } of this.state.items.values()) {
      const size = images[0]?.size;
      if (size) return clamp(size[0] / size[1], 0.25, 4);
    }
    return 1;
  }

  /** Compute the layout. A change of the size, the axes, the filters or the order needs it. */
  arrange() {
    const width = this.element.clientWidth;
    if (!width) return;
    const { size } = this.state.view;
    const wide = this.aspect >= 1 ? [1, 1 / this.aspect] : [this.aspect, 1];
    const sizeFor = (columnWidth, rowHeight) => {
      const inHeight = Math.max(rowHeight / wide[1], MIN_FIT_SIZE);
      return size || clamp(Math.min(columnWidth / wide[0], inHeight), MIN_SIZE, MAX_AUTO_SIZE);
    };
    this.layout = this.isList ? this.layList(width, wide, size) : this.layGrid(width, wide, sizeFor);
    const { headWidth, headHeight, columns, rows } = this.layout;
    this.canvas.style.width = `${headWidth + columns.size}px`;
    this.canvas.style.height = `${headHeight + rows.size}px`;
    this.heads.style.height = `${headHeight}px`;
    this.heads.hidden = !headHeight;
    this.element.setAttribute("aria-rowcount", String(rows.lines.length + (headHeight ? 1 : 0)));
    this.element.setAttribute("aria-colcount", String(columns.lines.length));
    this.element.setAttribute("aria-label", this.layout.label);
    for (const [index, row] of this.rows) this.removeRow(index, row);
    this.headsDrawn = "";
  }

  layList(width, wide, size) {
    const entries = this.state.visible;
    const longest = size || LIST_SIZE;
    const [cellWidth, height] = wide.map((share) => Math.round(share * longest));
    const count = Math.max(1, Math.floor((width + GAP * 2) / (cellWidth + GAP * 2)));
    const room = Math.floor((width + GAP * 2) / count) - GAP * 2;
    const across = layLines([null], [...Array(Math.min(count, entries.length)).keys()], room + GAP, 0);
    const down = layLines([null], [...Array(Math.ceil(entries.length / count)).keys()], height + LINE, 0);
    return {
      columns: across,
      rows: down,
      cell: [room, height],
      line: LINE,
      headWidth: 0,
      headHeight: 0,
      count,
      label: `${entries.length} images`,
      entryAt: (row, column) => entries[row * count + column],
      find: (place) => {
        const text = place.join();
        const index = entries.findIndex((entry) => entry.place.join() === text);
        return index < 0 ? null : [Math.floor(index / count), index % count];
      },
    };
  }

  layGrid(width, wide, sizeFor) {
    const { state } = this;
    const { x, y, outer_x: outerX, outer_y: outerY } = state.spread;
    const valuesOf = (axis) => (axis < 0 ? [null] : state.shownValues(axis));
    const [across, down, groupsAcross, groupsDown] = [x, y, outerX, outerY].map(valuesOf);
    const labels = (axis, values) => (axis < 0 ? [] : values.map((value) => state.axes[axis].values[value].label));
    const longest = Math.max(
      0,
      ...labels(y, down).map((label) => label.length),
      y < 0 ? 0 : state.axes[y].label.length + 2,
    );
    const headWidth = y < 0 ? 0 : clamp(longest * CHARACTER + 18, 52, Math.min(190, width * 0.3));
    const gaps = (groupsAcross.length - 1) * (GROUP_GAP - GAP);
    const columnWidth = (width - headWidth - gaps) / (across.length * groupsAcross.length) - GAP;
    const isLong = labels(x, across).some((label) => label.length * CHARACTER > columnWidth - 8);
    const axisLine = x >= 0 && y >= 0 && outerX < 0 && !isLong ? HEAD_LINE : 0;
    const headLines = x < 0 ? (y < 0 ? 0 : 1) : isLong ? 2 : 1;
    const headHeight = (outerX < 0 ? 0 : HEAD_LINE + 4) + (headLines ? headLines * HEAD_LINE + 8 + axisLine : 0);
    const band = outerY < 0 ? 0 : BAND;
    const room = clamp(window.innerHeight * 0.74, 280, 760) - headHeight - groupsDown.length * (band + GROUP_GAP);
    const rowHeight = room / (down.length * groupsDown.length) - GAP;
    const cell = wide.map((share) => Math.floor(share * sizeFor(columnWidth, rowHeight)));
    const columns = layLines(groupsAcross, across, cell[0], 0);
    const rows = layLines(groupsDown, down, cell[1], band);
    const place = (row, column) => {
      const found = [...state.at];
      const set = (axis, value) => {
        if (axis >= 0) found[axis] = value;
      };
      set(x, columns.lines[column].value);
      set(y, rows.lines[row].value);
      set(outerX, columns.lines[column].group);
      set(outerY, rows.lines[row].group);
      return found;
    };
    const indexIn = ({ lines }, value, group) =>
      lines.findIndex((line) => (line.value ?? value) === value && (line.group ?? group) === group);
    const names = [x, y, outerX, outerY].filter((axis) => axis >= 0).map((axis) => state.axes[axis].label);
    return {
      columns,
      rows,
      cell,
      line: 0,
      headWidth,
      headHeight,
      count: columns.lines.length,
      label: `Grid of ${names.join(", ")}`,
      entryAt: (row, column) => state.entryAt(place(row, column)),
      find: (at) => {
        const row = indexIn(rows, at[y] ?? null, at[outerY] ?? null);
        const column = indexIn(columns, at[x] ?? null, at[outerX] ?? null);
        return row < 0 || column < 0 ? null : [row, column];
      },
    };
  }

  /** Return the combination of the cell that is `across` columns and `down` rows from another. */
  placeFrom(place, across, down) {
    const found = this.layout?.find(place);
    if (!found) return this.layout?.entryAt(0, 0)?.place ?? place;
    const { rows, columns, entryAt, count } = this.layout;
    let [row, column] = found;
    if (this.isList && across) {
      const index = clamp(row * count + column + across, 0, this.state.visible.length - 1);
      [row, column] = [Math.floor(index / count), index % count];
    } else {
      column = clamp(column + across, 0, columns.lines.length - 1);
    }
    row = clamp(row + down, 0, rows.lines.length - 1);
    return entryAt(row, column)?.place ?? place;
  }

  /** Scroll so that a cell is in sight, with the headings beside it. */
  reveal(place) {
    const found = this.layout?.find(place);
    if (!found || !this.element.clientWidth) return;
    const { rows, columns, cell, line, headWidth, headHeight } = this.layout;
    const [top, left] = [rows.lines[found[0]].at, columns.lines[found[1]].at];
    const view = this.element;
    const fit = (start, size, scroll, room) =>
      start < scroll ? start : start + size > scroll + room ? start + size - room : scroll;
    view.scrollTop = fit(top, cell[1] + line + GAP, view.scrollTop, view.clientHeight - headHeight);
    view.scrollLeft = fit(left, cell[0] + GAP, view.scrollLeft, view.clientWidth - headWidth);
  }

  /** Make the elements of the cells in sight, and update them. */
  draw() {
    if (!this.layout || !this.element.clientWidth) return;
    const { rows, columns, cell, line, headWidth, headHeight, entryAt } = this.layout;
    const view = this.element;
    const top = view.scrollTop;
    const left = view.scrollLeft;
    const rowRange = linesInSight(rows.lines, cell[1] + line, top, top + view.clientHeight - headHeight);
    const columnRange = linesInSight(columns.lines, cell[0], left, left + view.clientWidth - headWidth);
    this.drawHeads(columnRange);
    this.drawBands();
    for (const [index, row] of this.rows) if (index < rowRange[0] || index > rowRange[1]) this.removeRow(index, row);
    const current = this.layout.find(this.state.at)?.join();
    const keys = new Set();
    this.shown = [];
    for (let row = rowRange[0]; row <= rowRange[1]; row += 1) {
      const element = this.rowElement(row);
      for (let column = columnRange[0]; column <= columnRange[1]; column += 1) {
        const entry = entryAt(row, column);
        if (!entry) continue;
        const key = `${row},${column}`;
        keys.add(key);
        this.drawCell(key, element, entry, { row, column, isCurrent: key === current });
      }
    }
    for (const [key, view_] of this.cells) {
      if (keys.has(key)) continue;
      view_.close();
      this.cells.delete(key);
    }
    const active = current && this.cells.get(current)?.element.id;
    if (active) view.setAttribute("aria-activedescendant", active);
    else view.removeAttribute("aria-activedescendant");
    const isEmpty = this.isList ? !this.state.visible.length : !rows.lines.length;
    this.empty.textContent = isEmpty && this.explorer.isLoaded ? "The filter shows no image." : "";
    view.hidden = isEmpty;
  }

  get videos() {
    return [...this.cells.values()].map(({ video }) => video).filter((video) => video && !video.hidden);
  }

  /** The keys of the images in sight that have no thumbnail: videos and animations. */
  get neededFulls() {
    const { thumbs } = this.explorer.images;
    const found = (this.shown ?? []).filter(({ image }) => image.video || thumbs.get(image.key)?.problem);
    return found.map(({ image }) => image.key).slice(0, MAX_VIDEOS);
  }

  drawCell(key, parent, entry, { row, column, isCurrent }) {
    const { cell, line, columns, headWidth } = this.layout;
    let view = this.cells.get(key);
    if (!view) {
      view = new CellView(`${this.name}-${row}-${column}`);
      view.element.setAttribute("aria-colindex", String(column + 1));
      const { style } = view.element;
      style.left = `${headWidth + columns.lines[column].at}px`;
      style.width = `${cell[0]}px`;
      style.height = `${cell[1] + line}px`;
      view.box.style.height = `${cell[1]}px`;
      parent.append(view.element);
      this.cells.set(key, view);
    }
    const isShown = this.isList || this.state.matches(entry) || !entry.item;
    if (isShown && entry.image) this.shown.push(entry);
    view.draw(entry, {
      got: entry.image ? this.explorer.images.get(entry.image.key) : null,
      isCurrent,
      isMarked: this.explorer.review.isMarked(entry.image),
      isShown,
      hasLine: this.isList,
      words: this.state.describe(entry.place) || entry.item?.ref || "cell",
    });
  }

  rowElement(index) {
    const found = this.rows.get(index);
    if (found) return found;
    const { rows, cell, line, headWidth, headHeight } = this.layout;
    const row = make("div", { class: "cx-row", role: "row", "aria-rowindex": String(index + (headHeight ? 2 : 1)) });
    row.style.top = `${headHeight + rows.lines[index].at}px`;
    row.style.height = `${cell[1] + line}px`;
    const { y } = this.state.spread;
    if (headWidth) {
      const { label, text } = this.state.axes[y].values[rows.lines[index].value];
      const head = make("div", { class: "cx-rowhead", role: "rowheader", title: text }, make("span", {}, label));
      head.style.width = `${headWidth}px`;
      row.append(head);
    }
    this.canvas.append(row);
    this.rows.set(index, row);
    return row;
  }

  removeRow(index, row) {
    for (const [key, view] of this.cells) {
      if (view.element.parentElement !== row) continue;
      view.close();
      this.cells.delete(key);
    }
    row.remove();
    this.rows.delete(index);
  }

  /** Draw the headings of the columns in sight, and those of outer columns. */
  drawHeads([first, last]) {
    const { columns, cell, headWidth, headHeight } = this.layout;
    const drawn = [first, last, headWidth, headHeight, this.element.clientWidth].join();
    if (!headHeight || drawn === this.headsDrawn) return;
    this.headsDrawn = drawn;
    const { axes } = this.state;
    const { x, y, outer_x: outerX } = this.state.spread;
    const children = [];
    if (headWidth) {
      const corner = make("div", { class: "cx-corner", role: "columnheader" });
      if (x >= 0) corner.append(make("span", { class: "cx-across" }, `${axes[x].label} \u2192`));
      corner.append(make("span", { class: "cx-down" }, `${axes[y].label} \u2193`));
      corner.style.width = `${headWidth}px`;
      children.push(corner);
    }
    const put = (className, label, { at, size, top, height }) => {
      const head = make("div", { class: className, role: "columnheader", title: label }, make("span", {}, label));
      Object.assign(head.style, {
        left: `${headWidth + at}px`,
        width: `${size}px`,
        top: `${top}px`,
        height: `${height}px`,
      });
      children.push(head);
    };
    const outerHeight = outerX < 0 ? 0 : HEAD_LINE + 4;
    for (const { at, size, group } of outerX < 0 ? [] : columns.outer) {
      put("cx-outerhead", `${axes[outerX].label} ${axes[outerX].values[group].label}`, {
        at,
        size,
        top: 0,
        height: outerHeight,
      });
    }
    for (let column = first; x >= 0 && column <= last; column += 1) {
      const { at, value } = columns.lines[column];
      const label = headWidth ? axes[x].values[value].label : `${axes[x].label} ${axes[x].values[value].label}`;
      put("cx-colhead", label, { at, size: cell[0], top: outerHeight, height: headHeight - outerHeight });
    }
    this.heads.replaceChildren(...children);
  }

  /** Draw the headings of outer rows; they are few. */
  drawBands() {
    const { rows, headHeight } = this.layout;
    const { outer_y: axis } = this.state.spread;
    const isBanded = !this.isList && axis >= 0;
    const drawn = isBanded ? JSON.stringify([rows.outer, axis, headHeight]) : "";
    if (drawn === this.bandsDrawn) return;
    this.bandsDrawn = drawn;
    for (const band of this.canvas.querySelectorAll(".cx-band")) band.remove();
    for (const { at, group } of isBanded ? rows.outer : []) {
      const { label, values } = this.state.axes[axis];
      const text = make("span", {}, `${label} ${values[group].label}`);
      const band = make("div", { class: "cx-band", role: "presentation" }, text);
      band.style.top = `${headHeight + at}px`;
      this.canvas.append(band);
    }
  }

  close() {
    for (const [index, row] of this.rows) this.removeRow(index, row);
  }
}

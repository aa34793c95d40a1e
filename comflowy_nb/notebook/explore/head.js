// The lines above and below an explorer: counts and submits; the state of the kernel, and unsaved ratings.

import { make, makeButton } from "../widgets/shared.js";

export class Head {
  constructor(explorer) {
    this.explorer = explorer;
    this.title = make("h2", { class: "cx-title" });
    this.counts = make("span", { class: "cx-quiet" });
    const action = (key, name) =>
      makeButton({ "data-key": key, hidden: true }, [], () => explorer.dialog.askPlan(name, null));
    this.actions = { missing: action("run-missing", "missing"), retry: action("retry-failed", "retry") };
    const attributes = { class: "cx-icon", title: "Keys (key ?)", "aria-label": "Keys", "data-key": "help" };
    const help = makeButton(attributes, "?", () => explorer.dialog.toggleKeys());
    this.marked = makeButton({ class: "cx-link", "data-key": "marked" }, [], () => explorer.set("selected", []));
    const { missing, retry } = this.actions;
    const { filter, orders } = explorer.toolbar;
    const space = make("span", { class: "cx-space" });
    const children = [this.title, this.counts, this.marked, space, missing, retry, filter, orders, help];
    this.element = make("div", { class: "cx-head" }, ...children);
  }

  draw() {
    const { state, isLoaded, isOffline } = this.explorer;
    this.title.textContent = state.title;
    const total = state.items.size;
    const statuses = [...state.statuses]
      .filter(([status]) => status !== "success")
      .map(([status, count]) => `${count} ${status}`);
    const shown = state.isFiltered ? [`${state.visible.length} shown`] : [];
    const cells = total === 1 ? "1 cell" : `${total.toLocaleString("en")} cells`;
    this.counts.textContent = isLoaded ? [cells, ...statuses, ...shown].join(" \u00b7 ") : "";
    const count = (name) => [...state.items.values()].filter(({ can }) => can?.[name]).length;
    const { missing, retry } = this.actions;
    const [runs, retries] = isOffline ? [0, 0] : [count("run"), count("retry")];
    missing.hidden = !runs;
    missing.textContent = `Run missing (${runs})`;
    retry.hidden = !retries;
    retry.textContent = `Retry failed (${retries})`;
    const { length } = state.selected;
    this.marked.hidden = !length;
    this.marked.textContent = `${length} marked, clear`;
  }
}

export class Notice {
  constructor(explorer) {
    this.explorer = explorer;
    this.text = make("span");
    const attributes = { type: "text", placeholder: "Your name", "aria-label": "Your name", "data-key": "name" };
    this.name = make("input", attributes);
    this.download = makeButton({ "data-key": "download" }, "Download ratings.json", () => this.save());
    this.element = make("div", { class: "cx-notice", role: "status" }, this.text, this.name, this.download);
  }

  draw() {
    const { kernel, ratings, isOffline, isLoaded, problem } = this.explorer;
    const { size } = ratings.unsaved;
    const count = size === 1 ? "1 rating" : `${size} ratings`;
    const isGone = !isOffline && kernel.isGone;
    const unsaved = size ? ` ${count} not saved yet.` : "";
    let text = problem ?? "";
    if (isOffline) text = size ? `You made ${count} in this page.` : "";
    else if (isGone && !isLoaded) text = "There is no kernel: run the cell again.";
    else if (isGone)
      text = `There is no kernel. Loaded images stay available; run the cell again to load the others.${unsaved}`;
    else if (kernel.isBusy) text = `The kernel is busy. Loaded images stay available.${unsaved}`;
    if (this.text.textContent !== text) this.text.textContent = text;
    this.element.hidden = !text;
    this.name.hidden = !isOffline || !size;
    // The explorer can't distinguish a kernel that was killed and restarted from a busy one.
    this.download.hidden = !size || !(isOffline || isGone || kernel.isBusy);
    if (!isGone && this.wasGone) this.explorer.goOn();
    this.wasGone = isGone;
  }

  save() {
    const text = this.explorer.ratings.file(this.name.value.trim());
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    make("a", { href: url, download: "ratings.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

// The explorer: the images of sweeps and runs by their axes, with ratings. The model is anywidget's, or the model of a
// saved page (page.js). Documents and images arrive in messages; the view fetches nothing.

import { followTheme, keepKeys, make, reducedMotion } from "../widgets/shared.js";
import { stateOf } from "./cells.js";
import { Controls, Player } from "./controls.js";
import { Dialog } from "./dialog.js";
import { Filters } from "./filters.js";
import { Focus } from "./focus.js";
import { Head, Notice } from "./head.js";
import { Images, Kernel, Ratings } from "./kernel.js";
import { Keys } from "./keys.js";
import { Panel } from "./panel.js";
import { Panes } from "./panes.js";
import { Review } from "./review.js";
import { Sheet } from "./sheet.js";
import { Stage } from "./stage.js";
import { Exploration } from "./state.js";
import { Toolbar } from "./toolbar.js";
import { Videos } from "./videos.js";

const SAVE_MS = 100; // between two changes of the address of a page, which browsers limit
const ARRANGING = ["x", "y", "outer_x", "outer_y", "_view", "_filters", "_matching", "sort", "where", "_where_problem"];

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.isOffline = model.isOffline === true; // a saved page
    this.isLoaded = false;
    this.isStill = reducedMotion().matches;
    this.state = new Exploration(model);
    this.kernel = new Kernel(model, el, { onChange: () => this.schedule(), onUpdate: (update) => this.update(update) });
    this.images = new Images(this.kernel, () => this.schedule());
    this.ratings = new Ratings(this.kernel, this.state, {
      isOffline: this.isOffline,
      onChange: () => this.afterRating(),
    });
    this.player = new Player(this);
    this.panes = new Panes(this);
    this.review = new Review(this);
    this.focus = new Focus(this);
    this.ended = new AbortController();
    this.root = this.build();
    el.append(this.root);
    this.listen();
    this.load();
  }

  build() {
    this.filters = new Filters(this);
    this.toolbar = new Toolbar(this, this.filters);
    this.dialog = new Dialog(this);
    this.controls = new Controls(this);
    this.sheet = new Sheet(this);
    this.stage = new Stage(this, this.ended.signal);
    this.panel = new Panel(this);
    this.videos = new Videos();
    this.head = new Head(this);
    this.notice = new Notice(this);
    this.spoken = make("div", { class: "cx-unseen", role: "status", "aria-live": "polite" });
    return make(
      "div",
      { class: "comflowy-explore", role: "group", tabindex: "-1", "aria-label": "Explorer" },
      this.head.element,
      this.toolbar.element,
      this.dialog.element,
      this.filters.element,
      this.filters.summary,
      this.controls.element,
      make(
        "div",
        { class: "cx-main" },
        make("div", { class: "cx-shown" }, this.stage.element, this.sheet.root),
        this.panel.element,
      ),
      this.notice.element,
      this.spoken,
    );
  }

  listen() {
    const { signal } = this.ended;
    const arrange = () => this.schedule(true);
    this.modelListeners = Object.fromEntries(ARRANGING.map((name) => [`change:${name}`, arrange]));
    this.modelListeners["change:_at"] = () => this.schedule();
    this.modelListeners["change:selected"] = () => this.schedule();
    this.modelListeners["change:_matching"] = () => {
      this.leaveHidden();
      this.schedule(true);
    };
    for (const name of ["x", "y", "outer_x", "outer_y"])
      this.modelListeners[`change:${name}`] = () => this.followSpread(name);
    for (const [name, act] of Object.entries(this.modelListeners)) this.model.on(name, act);
    this.watch = new ResizeObserver(arrange);
    this.watch.observe(this.sheet.element);
    this.watch.observe(this.root);
    window.addEventListener("resize", arrange, { signal });
    const keys = new Keys(this);
    keepKeys(this.root, signal, (event) => keys.press(event));
    followTheme(this.root, signal);
    const motion = reducedMotion();
    const follow = () => {
      this.isStill = motion.matches;
      if (this.isStill) this.player.stop();
      this.schedule();
    };
    motion.addEventListener("change", follow, { signal });
  }

  load() {
    this.kernel.send({ ask: "document" }, (reply) => {
      if (reply.problem || !reply.document) {
        this.problem = reply.problem ?? "The explorer has no content.";
        this.schedule();
        return;
      }
      this.state.load(reply.document);
      this.images.sizes = reply.document.thumbnail_sizes_px;
      this.isLoaded = true;
      this.ratings.restore(this.model.get("_unsaved"));
      this.schedule(true);
    });
    this.schedule(true);
  }

  update(changes) {
    if (!this.isLoaded) return;
    this.state.update(changes);
    this.ratings.show();
    this.schedule(true);
  }

  // -- changes -------------------------------------------------------------------------------------------------

  set(name, value) {
    this.model.set(name, value);
    this.save();
  }

  setView(changes) {
    this.state.setView(changes);
    this.save();
  }

  setFilter(...filter) {
    this.state.setFilter(...filter);
    this.leaveHidden();
    this.save();
  }

  /** A filter has changed: if it hides the current combination, go to the first visible one. */
  leaveHidden() {
    const { state } = this;
    state.forget();
    const [first] = state.visible;
    if (first && !state.matches(state.current)) this.go(first.place);
  }

  clearFilters() {
    this.state.clearFilters();
    this.save();
  }

  /**
   * Send what was set. A notebook sends it at once, and ipywidgets limits the messages: it discards the reply of the
   * kernel to an earlier message only if a later one was sent, else the reply would undo what the user did since.
   */
  save() {
    if (!this.isOffline) this.flush();
    else this.saving ??= setTimeout(() => this.flush(), SAVE_MS);
  }

  flush() {
    clearTimeout(this.saving);
    this.saving = undefined;
    if (!this.kernel.isGone) this.model.save_changes();
  }

  /** Go to a combination. */
  go(place) {
    this.model.set("_at", place);
    this.isMoved = true;
    this.save();
  }

  step(axis, by) {
    if (axis < 0) return;
    const { state } = this;
    this.go(state.stepFrom(state.at, axis, by));
  }

  setMode(mode) {
    const before = this.state.view.mode;
    if (mode === "grid") this.spreadWith(() => this.state.spreadFirst());
    if (mode === "two" || mode === "image") {
      if (before === "grid" || before === "list") this.cameFrom = before;
    }
    if (mode === "two" && this.state.pin) this.panes.keep(this.state.pin);
    this.setView({ mode });
    this.isMoved = true;
  }

  get isLarge() {
    return ["image", "two"].includes(this.state.view.mode);
  }

  /** Enlarge the current cell; if it is large, show its actual pixels or all of it. */
  enlarge() {
    if (this.isLarge) {
      this.stage.zoom.toggleActual([0, 0]);
      return;
    }
    this.setMode("image");
    this.stage.zoom.showAll();
  }

  /** Go back one level: close a dialog, fit the image, or return to the grid or the list. */
  back() {
    if (this.dialog.close()) return;
    if (this.isLarge && this.stage.zoom.zoom !== 1) this.stage.zoom.showAll();
    else if (this.isLarge && (this.cameFrom || this.state.hasSpread)) this.setMode(this.cameFrom ?? "grid");
    else if (this.filters.isOpen) this.filters.toggle();
    else this.player.stop();
  }

  /** Python spreads an axis: the grid shows it. */
  followSpread(name) {
    if (!this.isSpreading && this.model.get(name)) this.setView({ mode: "grid" });
    this.schedule(true);
  }

  spreadWith(act) {
    this.isSpreading = true;
    act();
    this.isSpreading = false;
    this.isMoved = true;
    this.save();
  }

  spread(role, name) {
    this.spreadWith(() => this.state.setSpread(role, name));
  }

  swap() {
    const [x, y] = ["x", "y"].map((role) => this.model.get(role));
    this.spreadWith(() => {
      this.model.set("x", y);
      this.model.set("y", x);
    });
  }

  flip(role) {
    const name = this.model.get(role);
    const { flipped } = this.state.view;
    this.setView({ flipped: flipped.includes(name) ? flipped.filter((each) => each !== name) : [...flipped, name] });
  }

  sort(name, sign) {
    this.set("sort", sign < 0 ? `-${name}` : name);
    if (name && this.state.view.mode === "grid") this.setMode("list");
  }

  afterRating() {
    if (this.isOffline) this.model.set("_unsaved", Object.fromEntries(this.ratings.unsaved));
    this.schedule(true);
  }

  say(words) {
    this.spoken.textContent = words;
  }

  // -- drawing -------------------------------------------------------------------------------------------------

  /** Draw in the next frame; `arranges` computes the layout again. */
  schedule(arranges = false) {
    this.arranges ||= arranges;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (!this.ended.signal.aborted) this.focus.keep(() => this.draw());
    });
  }

  draw() {
    const { state } = this;
    const isArranging = this.arranges;
    this.arranges = false;
    if (isArranging) {
      state.forget();
      this.arrange();
    }
    const { isLarge } = this;
    if (isArranging && !isLarge) this.sheet.arrange();
    if (this.isMoved && !isLarge) this.sheet.reveal(state.at);
    if (isArranging) this.toolbar.arrange();
    this.isMoved = false;
    this.controls.draw();
    if (isLarge) this.stage.draw(this.panes.entries, (entry) => !entry.item || state.matches(entry));
    else this.sheet.draw();
    this.toolbar.draw();
    this.panel.draw();
    this.head.draw();
    this.notice.draw();
    this.requestImages();
    this.report();
  }

  arrange() {
    const { mode } = this.state.view;
    this.root.dataset.mode = mode;
    this.stage.element.hidden = !this.isLarge;
    this.sheet.root.hidden = this.isLarge;
    this.filters.arrange();
    this.controls.arrange();
    const words = this.panes.entries
      .map((entry) => entry.item?.caption || this.state.describe(entry.place))
      .join(" and ");
    this.stage.element.setAttribute("aria-label", `Large image: ${words}`);
  }

  get isWaitingForKernel() {
    return this.kernel.isGone || this.kernel.isBusy;
  }

  /** The kernel is available again. */
  goOn() {
    this.kernel.forget();
    this.images.restart();
    if (this.isLoaded) this.ratings.sendAll();
    else this.load();
  }

  /** Request the visible images, then the images of the next steps. */
  requestImages() {
    if (!this.isLoaded) return;
    const { state, player } = this;
    const isShown = (entry) => entry.image && stateOf(entry).isImage && !entry.image.video;
    const entries = this.isLarge ? this.panes.entries : (this.sheet.shown ?? []);
    const next = [];
    if (player.axis !== null) next.push(...this.entriesAfter(entries, player.next));
    else if (this.isLarge) {
      for (const axis of state.arrowAxes.filter((each) => each >= 0)) {
        for (const by of [1, -1]) next.push(state.entryAt(state.stepFrom(state.at, axis, by)));
      }
    }
    const thumbs = [...entries, ...next].filter(isShown).map(({ image }) => image.key);
    const shown = this.isLarge ? this.stage : this.sheet;
    const px = this.isLarge ? 0 : Math.max(...(this.sheet.layout?.cell ?? [0])) * (window.devicePixelRatio || 1);
    this.images.need(thumbs, shown.neededFulls, { px, isQuick: player.axis !== null });
    this.videos.play(shown.videos, this.isStill);
  }

  /** Return the entries that replace these entries after a step to another combination. */
  entriesAfter(entries, place) {
    const { at } = this.state;
    const axes = place.map((_, axis) => axis).filter((axis) => place[axis] !== at[axis]);
    return entries.map((entry) => {
      const moved = axes.reduce((found, axis) => this.state.placeWith(axis, place[axis], found), entry.place);
      return this.state.entryAt(moved);
    });
  }

  /** Return whether everything that a combination shows has arrived. */
  isReady(place) {
    const entries = this.isLarge ? this.panes.entries : (this.sheet.shown ?? []);
    return this.entriesAfter(entries, place).every(
      (entry) => !stateOf(entry).isImage || entry.image.video || this.images.thumbs.has(entry.image.key),
    );
  }

  /** Send the numbers of the visible items to Python, in order. */
  report() {
    if (!this.isLoaded || this.reported === this.state.visible) return;
    this.reported = this.state.visible;
    this.set("_visible", [...new Set(this.state.visible.map(({ item }) => item.id))]);
  }

  close() {
    this.player.stop();
    if (this.saving) this.flush();
    this.ended.abort();
    cancelAnimationFrame(this.frame);
    this.watch.disconnect();
    for (const [name, act] of Object.entries(this.modelListeners)) this.model.off(name, act);
    this.kernel.close();
    this.videos.close();
    this.sheet.close();
    this.stage.close();
    this.images.close();
    this.root.remove();
  }
}

export function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return () => explorer.close();
}

export default { render };

// The focused element of the explorer, found again by its `data-key` after a redraw.

export class Focus {
  constructor(explorer) {
    this.explorer = explorer;
  }

  get element() {
    const active = this.explorer.root.getRootNode().activeElement;
    return this.explorer.root.contains(active) ? active : null;
  }

  get key() {
    return this.element?.closest("[data-key]")?.dataset.key ?? null;
  }

  moveTo(key) {
    const found = key && this.explorer.root.querySelector(`[data-key="${CSS.escape(key)}"]`);
    const isShown = Boolean(found?.checkVisibility());
    if (isShown) found.focus({ preventScroll: true });
    if (!isShown || this.element !== found) this.moveToMain();
  }

  moveToMain() {
    const main = this.explorer.isLarge ? this.explorer.stage.element : this.explorer.sheet.element;
    (main.checkVisibility() ? main : this.explorer.root).focus({ preventScroll: true });
  }

  /** Redraw and keep the focus: without it, Jupyter would receive the next key. */
  keep(act) {
    const before = this.element;
    const key = this.key;
    act();
    if (before && (this.element !== before || !before.checkVisibility())) this.moveTo(key);
  }
}

// The two panes: one axis is pinned to a value in each pane, all others are at the current combination.

export class Panes {
  constructor(explorer) {
    this.explorer = explorer;
    this.state = explorer.state;
  }

  keep({ axis, values }) {
    this.explorer.setView({ pin: { axis: this.state.axes[axis].name, values } });
  }

  chooseAxis(name) {
    const axis = this.state.axisOf(name);
    const now = this.state.at[axis];
    const other = now + 1 < this.state.axes[axis].values.length ? now + 1 : now - 1;
    this.keep({ axis, values: [now, other] });
  }

  chooseValue(pane, value) {
    const { axis, values, active } = this.state.pin;
    this.keep({ axis, values: values.map((each, index) => (index === pane ? value : each)) });
    if (pane === active) this.explorer.go(this.state.placeWith(axis, value));
  }

  swap() {
    const { axis, values } = this.state.pin;
    this.keep({ axis, values: [...values].reverse() });
  }

  /** Make one pane the current one. Return true if the current pane has changed. */
  activate(pane) {
    const { pin, view } = this.state;
    if (view.mode !== "two" || !pin || pane < 0 || pane === pin.active) return false;
    this.keep(pin);
    this.explorer.go(this.state.placeWith(pin.axis, pin.values[pane]));
    return true;
  }

  labelOf(pane) {
    const { axis, values } = this.state.pin;
    const { label, values: all } = this.state.axes[axis];
    return `${label} ${all[values[pane]].label}`;
  }

  /** The entries that are shown large: one, or one for each pane. */
  get entries() {
    const { state } = this;
    const { pin } = state;
    if (state.view.mode !== "two" || !pin) return [state.current];
    return pin.values.map((value) => state.entryAt(state.placeWith(pin.axis, value)));
  }
}

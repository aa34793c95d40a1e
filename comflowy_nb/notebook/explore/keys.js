// The keys of an explorer. A key that the comparison widget also has does the same in both widgets.

import { ARROWS } from "../widgets/shared.js";

const TEXT_INPUT = "input[type=text], input[type=number]";

export class Keys {
  constructor(explorer) {
    this.explorer = explorer;
  }

  press(event) {
    const { target, key } = event;
    const isText = target.matches?.(TEXT_INPUT);
    if (isText && key !== "Escape") {
      if (key === "Enter") target.dispatchEvent(new Event("change"));
      return;
    }
    const act = isText ? () => this.explorer.focus.moveToMain() : this.keyOf(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  keyOf({ key, target }) {
    const arrow = ARROWS[key];
    if (arrow) return this.arrowOf(arrow, target);
    const isButton = target.matches?.("button, summary, input");
    if (target.tagName === "SELECT" && key !== "Escape" && key !== "?") return null;
    if (key === "Enter") return isButton ? null : () => this.explorer.enlarge();
    if (key === " ") return isButton ? null : () => this.explorer.player.toggle(this.playedAxis);
    if (/^[1-5]$/.test(key)) return () => this.explorer.review.rate(Number(key));
    const acts = {
      0: () => this.explorer.review.rate(0),
      x: () => this.explorer.review.reject(),
      u: () => this.explorer.review.undo(),
      m: () => this.explorer.review.mark(),
      n: () => this.explorer.panel.note.focus(),
      "?": () => this.explorer.dialog.toggleKeys(),
      "+": () => this.explorer.stage.zoom.in(),
      "=": () => this.explorer.stage.zoom.in(),
      "-": () => this.explorer.stage.zoom.out(),
      f: () => this.explorer.stage.zoom.showAll(),
      escape: () => this.explorer.back(),
    };
    return acts[key.toLowerCase()] ?? null;
  }

  arrowOf([across, down], target) {
    if (target.matches?.("select, input[type=range]")) return null;
    if (this.explorer.panel.stars.includes(target)) return () => this.explorer.panel.focusStar(across || down);
    if (this.explorer.toolbar.views.includes(target)) return () => this.focusView(across || down);
    const control = this.explorer.controls.focused;
    if (control) return () => this.stepControl(control, across || down, target);
    const { state } = this.explorer;
    if (!this.explorer.isLarge) return () => this.explorer.go(this.explorer.sheet.placeFrom(state.at, across, down));
    if (this.explorer.stage.zoom.canPan && target === this.explorer.stage.element) {
      const [width, height] = this.explorer.stage.zoom.pane;
      return () => this.explorer.stage.zoom.panBy(-across * width * 0.1, -down * height * 0.1);
    }
    const axes = state.arrowAxes;
    return () => this.explorer.step(across ? axes[0] : axes[1], across || down);
  }

  stepControl(control, by, target) {
    this.explorer.step(control.axis, by);
    if (!control.buttons?.includes(target)) return;
    control.draw();
    control.buttons[this.explorer.state.at[control.axis]].focus({ preventScroll: true });
  }

  focusView(by) {
    const shown = this.explorer.toolbar.views.filter((view) => !view.hidden);
    const at = shown.findIndex((view) => view.matches(":focus"));
    const next = shown[(at + by + shown.length) % shown.length];
    next.focus();
    next.click();
  }

  /** The axis that the space key plays or stops: the playing axis, else the first with a control. */
  get playedAxis() {
    return this.explorer.player.axis ?? this.explorer.controls.controls[0]?.axis;
  }
}

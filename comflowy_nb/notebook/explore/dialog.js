// The dialogs below the toolbar of an explorer: the plan of a submit, and the list of keys.

import { make, makeButton } from "../widgets/shared.js";

const KEYS = [
  ["\u2190 \u2192 \u2191 \u2193", "step along the axes, or through the list"],
  ["Enter", "enlarge; again for the actual pixels"],
  ["Esc", "back"],
  ["1 \u2013 5", "rate"],
  ["0", "clear the rating"],
  ["x", "reject"],
  ["u", "undo the last rating"],
  ["n", "write a note"],
  ["m", "mark for a comparison"],
  ["Space", "play or stop"],
  ["+ \u2212 f", "zoom in, zoom out, fit; Ctrl and the wheel zoom too"],
  ["?", "show or hide these keys"],
];

export class Dialog {
  constructor(explorer) {
    this.explorer = explorer;
    this.kind = null;
    this.element = make("div", { class: "cx-dialog", role: "dialog", tabindex: "-1", hidden: true });
  }

  open(kind, label, ...children) {
    const close = makeButton({ class: "cx-link cx-close", "data-key": "close" }, "Close", () => this.close());
    if (!this.kind) this.opener = this.explorer.focus.key;
    this.kind = kind;
    this.element.setAttribute("aria-label", label);
    this.element.replaceChildren(make("b", {}, label), ...children, ...(kind === "plan" ? [] : [close]));
    this.element.hidden = false;
  }

  close() {
    if (!this.kind) return false;
    this.kind = null;
    this.explorer.focus.moveTo(this.opener);
    this.element.hidden = true;
    return true;
  }

  toggleKeys() {
    if (this.kind === "keys") {
      this.close();
      return;
    }
    const rows = KEYS.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)]);
    this.open("keys", "Keys", make("dl", { class: "cx-keys" }, ...rows));
    this.element.focus({ preventScroll: true });
  }

  /** Show the plan of an action, and submit it when the user confirms. */
  askPlan(action, items) {
    const title = action === "retry" ? "Run failed cells again" : "Run missing cells";
    const text = make("pre", { class: "cx-plan" }, "Planning \u2026");
    const problem = make("p", { class: "cx-problem", role: "status" });
    const cancel = makeButton({ "data-key": "cancel" }, "Cancel", () => this.close());
    const buttons = make("div", { class: "cx-line-of" }, cancel);
    this.open("plan", title, text, problem, buttons);
    cancel.focus({ preventScroll: true });
    const { kernel } = this.explorer;
    kernel.send({ ask: "plan", action, items }, (reply) => {
      text.textContent = reply.plan ?? "";
      problem.textContent = reply.problem ?? "";
      if (reply.problem || !reply.submits) return;
      const words = reply.submits === 1 ? "Submit 1 run" : `Submit ${reply.submits} runs`;
      const submit = makeButton({ class: "cx-primary", "data-key": "submit" }, words, () => {
        if (submit.getAttribute("aria-disabled") === "true") return;
        submit.setAttribute("aria-disabled", "true");
        kernel.send({ do: action, items, submits: reply.submits }, (done) => {
          if (done.problem) {
            problem.textContent = done.problem;
            return;
          }
          this.explorer.say(done.started ?? "Submitted");
          this.close();
        });
      });
      buttons.prepend(submit);
      if (cancel.matches(":focus")) submit.focus({ preventScroll: true });
    });
  }
}

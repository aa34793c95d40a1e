// The panel about the current combination: its name, rating, note, scores, error and params.

import { ICONS, icon, make, makeButton } from "../widgets/shared.js";
import { stateOf } from "./cells.js";

const STAR = "M8 1.6l2 4 4.4.6-3.2 3.1.8 4.4L8 11.6l-4 2.1.8-4.4L1.6 6.2 6 5.6z";
const STARS = [1, 2, 3, 4, 5];

const starText = (rating) => (rating ? "\u2605".repeat(rating) + "\u2606".repeat(5 - rating) : "");

export class Panel {
  constructor(explorer) {
    this.explorer = explorer;
    this.ref = make("b");
    this.caption = make("span");
    this.state = make("p", { class: "cx-quiet" });
    this.error = make("pre", { class: "cx-error", tabindex: "0", "aria-label": "The error" });
    this.again = makeButton({ class: "cx-again", "data-key": "again" }, "Run again", () => this.runAgain());
    this.others = make("ul", { class: "cx-others" });
    this.scores = make("dl", { class: "cx-facts" });
    this.params = make("dl", { class: "cx-facts" });
    this.details = make("details", {}, make("summary", { "data-key": "params" }, "Params"), this.params);
    this.element = make(
      "section",
      { class: "cx-panel", "aria-label": "The current image" },
      make("h3", { class: "cx-name" }, this.ref, " ", this.caption),
      this.state,
      this.error,
      this.again,
      this.buildRating(),
      this.others,
      this.scores,
      this.details,
    );
  }

  buildRating() {
    this.stars = STARS.map((rating) => {
      const title = `${rating} of 5 (key ${rating}); the same again clears it`;
      const attributes = {
        class: "cx-star",
        role: "radio",
        "aria-label": `${rating} of 5`,
        title,
        "data-key": `star-${rating}`,
      };
      return makeButton(attributes, icon(STAR), () =>
        this.explorer.review.rate(this.image?.rating === rating ? 0 : rating),
      );
    });
    this.reject = makeButton({ class: "cx-toggle", title: "Reject (key x)", "data-key": "reject" }, "Reject", () =>
      this.explorer.review.reject(),
    );
    this.mark = makeButton(
      { class: "cx-toggle", title: "Mark for a comparison (key m)", "data-key": "mark" },
      "Mark",
      () => this.explorer.review.mark(),
    );
    this.undo = makeButton(
      { class: "cx-icon", title: "Undo the last rating (key u)", "aria-label": "Undo", "data-key": "undo" },
      icon(ICONS.undo),
      () => this.explorer.review.undo(),
    );
    this.note = make("input", {
      type: "text",
      placeholder: "Note",
      "aria-label": "Note",
      maxlength: "500",
      "data-key": "note",
    });
    this.note.addEventListener("change", () => this.explorer.review.setNote(this.note.value));
    this.moveOn = make("input", { type: "checkbox", "data-key": "move-on" });
    this.moveOn.addEventListener("change", () => this.explorer.setView({ moveOn: this.moveOn.checked }));
    this.unsaved = make("span", { class: "cx-unsaved" });
    const group = make("div", { class: "cx-stars", role: "radiogroup", "aria-label": "Rating" }, ...this.stars);
    this.rating = make(
      "div",
      { class: "cx-rating" },
      make("div", { class: "cx-line-of" }, group, this.undo, this.unsaved),
      make("div", { class: "cx-line-of" }, this.reject, this.mark),
      this.note,
      make("label", { class: "cx-check" }, this.moveOn, "Move on to the next unrated"),
    );
    return this.rating;
  }

  runAgain() {
    const { item } = this.explorer.state.current;
    this.explorer.dialog.askPlan(item.can.retry ? "retry" : "missing", [item.id]);
  }

  get image() {
    return this.explorer.state.current.image;
  }

  draw() {
    const { state, ratings, isOffline } = this.explorer;
    const entry = state.current;
    const { item, image } = entry;
    const { isImage, text } = stateOf(entry);
    this.ref.textContent = image?.ref ?? item?.ref ?? "";
    this.caption.textContent = item?.caption ?? state.describe(entry.place);
    const note = this.explorer.images.fulls.get(image?.key)?.note ?? "";
    this.state.textContent = isImage ? note : text;
    this.error.textContent = isImage ? "" : (item?.error ?? "");
    this.error.hidden = !this.error.textContent || state.view.mode === "image" || state.view.mode === "two";
    const can = (!isOffline && item?.can) || {};
    this.again.hidden = isImage || !(can.retry || can.run) || state.view.mode === "image" || state.view.mode === "two";
    this.again.textContent = can.retry ? "Run again" : "Run this cell";
    this.drawRating(image, isImage);
    this.undo.setAttribute("aria-disabled", String(!ratings.undone.length));
    this.moveOn.checked = state.view.moveOn;
    this.drawFacts(this.scores, [...Object.entries(image?.scores ?? {}), ...Object.entries(image?.score_errors ?? {})]);
    this.drawFacts(this.params, item?.params ?? []);
    this.details.hidden = !item?.params?.length;
    const others = image?.others ?? [];
    const lines = others.map(({ source, rating, rejected, note }) => {
      const words = [rejected ? "rejected" : starText(rating), note && `\u201c${note}\u201d`].filter(Boolean).join(" ");
      return make("li", {}, make("b", {}, source), ` ${words}`);
    });
    this.replace(this.others, lines);
  }

  drawRating(image, isImage) {
    this.rating.hidden = !image || !isImage;
    const rating = image?.rating ?? 0;
    for (const [index, star] of this.stars.entries()) {
      star.classList.toggle("cx-on", index < rating);
      star.setAttribute("aria-checked", String(index + 1 === rating));
      star.tabIndex = index + 1 === (rating || 1) ? 0 : -1;
    }
    this.reject.setAttribute("aria-pressed", String(Boolean(image?.rejected)));
    this.mark.setAttribute("aria-pressed", String(this.explorer.review.isMarked(image)));
    const isTyping = this.note.matches(":focus") && this.noteOf === image?.key;
    if (!isTyping) this.note.value = image?.note ?? "";
    this.noteOf = image?.key;
    const { unsaved, problems } = this.explorer.ratings;
    const problem = problems.get(image?.key);
    const words = problem ?? (unsaved.has(image?.key) && this.explorer.isWaitingForKernel ? "not saved yet" : "");
    this.unsaved.textContent = words;
    this.unsaved.title = words;
  }

  /** Step between the stars by arrow keys, as in any group of radio buttons. */
  focusStar(by) {
    const at = this.stars.findIndex((star) => star.matches(":focus"));
    this.stars[(at + by + STARS.length) % STARS.length].focus();
  }

  drawFacts(list, facts) {
    const rows = facts.flatMap(([name, value]) => {
      const text = typeof value === "number" ? String(Math.round(value * 1e4) / 1e4) : String(value ?? "none");
      return [make("dt", {}, name), make("dd", {}, text)];
    });
    this.replace(list, rows);
  }

  replace(list, children) {
    const words = children.map((child) => child.textContent).join("\n");
    if (list.dataset.words === words) return;
    list.dataset.words = words;
    list.replaceChildren(...children);
    list.hidden = !children.length;
  }
}

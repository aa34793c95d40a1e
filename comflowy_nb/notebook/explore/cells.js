// The element of a cell: an image or the text of its state, and a label for screen readers.

import { make, showImage } from "../widgets/shared.js";
import { isVideo, makeVideo } from "./videos.js";

const TONES = { failed: "bad", rejected: "bad", unknown: "held", lost: "held" };
const LIVE = ["submitting", "waiting", "pending", "running"];

/** Return the state of an entry: whether it has an image to show, the text in its place, and the tone of the text. */
export function stateOf({ item, image }) {
  if (!item) return { isImage: false, text: "no run", tone: "none" };
  if (image && !image.problem) return { isImage: true, text: "", tone: "" };
  if (image) return { isImage: false, text: image.problem, tone: "held" };
  const isLive = LIVE.includes(item.status);
  const text = item.text || (item.status === "success" ? "no such image" : item.status);
  return { isImage: false, text, tone: isLive ? "live" : (TONES[item.status] ?? "quiet") };
}

export function describeRating(image) {
  if (!image) return "";
  if (image.rejected) return "rejected";
  return image.rating === null ? "" : `${image.rating} of 5`;
}

/** The element of one cell of the grid or the list. It is used again for other cells. */
export class CellView {
  constructor(id) {
    this.image = make("img", { alt: "", draggable: "false", decoding: "async" });
    this.state = make("span", { class: "cx-state" });
    this.mark = make("span", { class: "cx-rated" });
    this.tick = make("span", { class: "cx-ticked" }, "\u2713");
    this.box = make("div", { class: "cx-box" }, this.image, this.state, this.mark, this.tick);
    this.ref = make("b");
    this.caption = make("span");
    this.line = make("div", { class: "cx-line" }, this.ref, this.caption);
    this.element = make("div", { class: "cx-cell", role: "gridcell", id }, this.box, this.line);
  }

  /** Update the element if something of it changed. */
  draw(entry, { got, isCurrent, isMarked, isShown, hasLine, words }) {
    this.entry = entry;
    const { isImage, text, tone } = isShown ? stateOf(entry) : { isImage: false, text: "", tone: "filtered" };
    const { image, item } = entry;
    const rated =
      isShown && image ? (image.rejected ? "\u2715" : image.rating === null ? "" : `\u2605${image.rating}`) : "";
    const label = `${words}: ${isShown ? [text || item.status, describeRating(image)].filter(Boolean).join(", ") : "not shown by the filter"}`;
    const url = got?.url;
    const drawn = [entry.id, url, isCurrent, isMarked, text, tone, rated, label].join("|");
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const plays = isImage && isVideo(got);
    showImage(this.image, isImage && !plays ? url : null);
    if (plays && !this.video) {
      this.video = makeVideo();
      this.box.prepend(this.video);
    }
    if (this.video) showImage(this.video, plays ? url : null);
    this.state.textContent = isImage ? "" : text;
    this.mark.textContent = rated;
    this.tick.hidden = !isMarked;
    this.line.hidden = !hasLine;
    if (hasLine) {
      this.ref.textContent = image?.ref ?? item.ref;
      this.caption.textContent = ` ${item.caption}`;
      this.line.title = `${this.ref.textContent} ${item.caption}`;
    }
    const { dataset } = this.element;
    dataset.tone = tone;
    dataset.waits = String(isImage && !url);
    dataset.rejected = String(Boolean(isShown && image?.rejected));
    this.element.setAttribute("aria-label", isMarked ? `${label}, marked` : label);
    this.element.setAttribute("aria-selected", String(isCurrent));
    this.box.title = isImage ? "" : text;
  }

  close() {
    this.image.removeAttribute("src");
    this.video?.removeAttribute("src");
    this.element.remove();
  }
}

// The runs of a form: for each a button with its thumbnail and a checkbox, and below them the cell to copy.
// Nothing is fetched.

import { keepKeys, make, makeButton } from "../widgets/shared.js";

// While the kernel is busy, ipywidgets delays a change of a widget until the kernel has replied to the change before,
// but it never delays a click. A click on Run would arrive before the last values, so the values are sent before it.
const sendValuesFirst = (form, model, signal) => {
  const inputs = new Map();
  for (const id of model.get("inputs")) {
    model.widget_manager
      .get_model(id)
      .then((input) => inputs.set(id, input))
      .catch(() => {});
  }
  const send = (event) => {
    if (!event.target.closest(".cfy-buttons button")) return;
    const values = {};
    for (const [id, input] of inputs) values[id] = input.get(input.get("index") === undefined ? "value" : "index");
    model.send({ values });
  };
  form.addEventListener("click", send, { signal, capture: true });
};

const whenInForm = (el, signal, act) => {
  const find = () => {
    if (signal.aborted) return;
    const form = el.closest(".cfy-form") ?? (el.isConnected ? el : null);
    if (form === null) requestAnimationFrame(find);
    else act(form);
  };
  find();
};

const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no permission, or a page that is not secure: the text is shown, to be copied by hand
  }
};

class Frame {
  constructor(model, token) {
    this.model = model;
    this.token = token;
    this.element = make("li", { class: "cfy-frame" });
    this.button = makeButton({ class: "cfy-frame-button" }, [], () => model.send({ pick: token }));
    this.image = make("img", { class: "cfy-thumb" });
    this.image.alt = "";
    this.blank = make("span", { class: "cfy-blank" });
    this.bar = make("span", { class: "cfy-bar" });
    this.bar.append(make("span"));
    this.ref = make("strong");
    this.statusText = make("span", { class: "cfy-status-text" });
    this.changed = make("span", { class: "cfy-changed" });
    const line = make("span", { class: "cfy-frame-line" });
    line.append(this.ref, this.statusText);
    const box = make("span", { class: "cfy-thumb-box" });
    box.append(this.image, this.blank, this.bar);
    this.button.append(box, line, this.changed);
    const label = make("label", { class: "cfy-mark" });
    this.mark = make("input");
    this.mark.type = "checkbox";
    this.mark.addEventListener("change", () => this.setMark());
    label.append(this.mark, make("span", {}, "compare"));
    this.element.append(this.button, label);
  }

  setPreview(url) {
    this.preview = url;
    this.image.src = url;
    this.image.hidden = false;
    this.blank.hidden = true;
  }

  setMark() {
    const others = this.model.get("marked").filter((token) => token !== this.token);
    this.model.set("marked", this.mark.checked ? [...others, this.token] : others);
    this.model.save_changes();
  }

  draw(item) {
    const thumb = this.model.get("thumbs")[this.token] ?? (item.fraction === null ? undefined : this.preview);
    const isShown = this.model.get("shown") === this.token;
    const marked = this.model.get("marked");
    if (thumb && this.image.src !== thumb) this.image.src = thumb;
    this.image.hidden = !thumb;
    this.blank.hidden = Boolean(thumb);
    this.blank.textContent = thumb ? "" : item.status;
    this.bar.hidden = item.fraction === null;
    this.bar.firstChild.style.width = `${100 * (item.fraction ?? 0)}%`;
    this.ref.textContent = item.ref;
    this.statusText.textContent = item.status_text;
    this.changed.textContent = item.changed;
    this.element.dataset.status = item.status;
    this.element.classList.toggle("cfy-shown", isShown);
    this.button.setAttribute("aria-pressed", String(isShown));
    this.button.title = `${item.changed}\nclick to restore these values`;
    this.button.setAttribute(
      "aria-label",
      `${item.ref}, ${item.status_text || item.status}. ${item.changed}. Restore these values`,
    );
    this.mark.checked = marked.includes(this.token);
    this.mark.disabled = !item.has_images || (!this.mark.checked && marked.length >= this.model.get("max_marked"));
    this.mark.setAttribute("aria-label", `compare ${item.ref}`);
  }
}

export default {
  render({ model, el }) {
    const listeners = new AbortController();
    whenInForm(el, listeners.signal, (form) => {
      keepKeys(form, listeners.signal);
      sendValuesFirst(form, model, listeners.signal);
    });
    const root = make("div", { class: "cfy-strip" });
    const copied = make("div", { class: "cfy-copied" });
    copied.hidden = true;
    copied.setAttribute("role", "status");
    const copiedText = make("span", { class: "cfy-copied-text" });
    const hide = makeButton({ class: "cfy-small-button" }, "hide", () => {
      copied.hidden = true;
    });
    const text = make("pre");
    text.tabIndex = 0;
    text.setAttribute("aria-label", "the cell");
    copied.append(copiedText, hide, text);
    const list = make("ol", { class: "cfy-frames" });
    list.setAttribute("aria-label", "runs of this form");
    const send = () => model.send({ compare: model.get("marked") });
    const compare = makeButton({ class: "cfy-small-button cfy-compare" }, [], send);
    root.append(copied, list, compare);
    el.append(root);

    const frames = new Map();
    const draw = () => {
      const items = model.get("items");
      const tokens = new Set(items.map((item) => item.token));
      for (const [token, frame] of frames) {
        if (!tokens.has(token)) {
          frame.element.remove();
          frames.delete(token);
        }
      }
      let isNew = false;
      for (const item of items) {
        let frame = frames.get(item.token);
        if (!frame) {
          frame = new Frame(model, item.token);
          frames.set(item.token, frame);
          list.append(frame.element);
          isNew = true;
        }
        frame.draw(item);
      }
      list.hidden = items.length === 0;
      const count = model.get("marked").length;
      compare.hidden = items.length < 2;
      compare.disabled = count < 2;
      compare.textContent = count < 2 ? "Mark two or more to compare" : `Compare ${count} marked`;
      if (isNew) list.scrollTo({ left: list.scrollWidth });
    };
    const show = async () => {
      const cell = model.get("cell");
      if (!cell.text) return;
      text.textContent = cell.text;
      copied.hidden = false;
      copiedText.textContent = (await copy(cell.text)) ? "Copied: paste it into a cell" : "Copy this into a cell";
    };
    const showPreview = () => {
      const { token, url } = model.get("preview");
      if (token && !model.get("thumbs")[token]) frames.get(token)?.setPreview(url);
    };
    const drawnTraits = ["items", "thumbs", "shown", "marked"].map((name) => `change:${name}`);
    for (const name of drawnTraits) model.on(name, draw);
    model.on("change:cell", show);
    model.on("change:preview", showPreview);
    draw();
    return () => {
      listeners.abort();
      for (const name of drawnTraits) model.off(name, draw);
      model.off("change:cell", show);
      model.off("change:preview", showPreview);
    };
  },
};

// The model of a saved page, with the interface of an anywidget model. The page contains the document and the images, the
// URL stores the view, and the browser's storage the ratings of the visitor.

import { render } from "./explore.js";

const TEXTS = ["x", "y", "outer_x", "outer_y", "sort"]; // traits that the URL stores as text
const VALUES = ["_at", "_filters", "_view", "selected"]; // traits that the URL stores as JSON
const STORED = "comflowy_nb ratings";

/** Return the storage key of a page: a hash of its images. */
function nameOf(items) {
  let hash = 0;
  for (const { images } of items) {
    for (const { sha256, key } of images) {
      for (const letter of sha256 ?? key) hash = (Math.imul(hash, 31) + letter.codePointAt(0)) | 0;
    }
  }
  return `${STORED} ${(hash >>> 0).toString(36)}`;
}

class PageModel {
  constructor({ document: content, thumbs, fulls }) {
    this.isOffline = true;
    this.content = content;
    this.sources = { thumbs, fulls };
    this.listeners = new Map();
    this.storage = nameOf(content.items);
    const [x = "", y = ""] = content.axes.filter(({ values }) => values.length > 1).map(({ name }) => name);
    this.defaults = {
      x,
      y,
      outer_x: "",
      outer_y: "",
      sort: "",
      _at: [],
      _filters: {},
      _view: {},
      selected: [],
      ...content.view,
    };
    this.state = { ...this.defaults, ...this.readAddress(), _unsaved: this.readStored() };
    window.addEventListener("hashchange", () => this.follow());
  }

  get(name) {
    return this.state[name];
  }

  set(name, value) {
    if (JSON.stringify(this.state[name]) === JSON.stringify(value)) return;
    this.state[name] = value;
    this.notify(`change:${name}`);
    if (name === "_unsaved") this.store(value);
  }

  on(name, listener) {
    this.listeners.set(name, (this.listeners.get(name) ?? new Set()).add(listener));
  }

  off(name, listener) {
    this.listeners.get(name)?.delete(listener);
  }

  notify(name, ...values) {
    for (const listener of [...(this.listeners.get(name) ?? [])]) listener(...values);
  }

  // -- the address ---------------------------------------------------------------------------------------------

  readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const found = {};
    for (const name of TEXTS) if (given.has(name)) found[name] = given.get(name);
    for (const name of VALUES) {
      try {
        if (given.has(name)) found[name] = JSON.parse(given.get(name));
      } catch {
        // an invalid URL: show the default view
      }
    }
    return found;
  }

  /** Store the differences from the default view in the URL, without a new entry in the browser's history. */
  save_changes() {
    const written = new URLSearchParams();
    for (const name of [...TEXTS, ...VALUES]) {
      const text = TEXTS.includes(name) ? this.state[name] : JSON.stringify(this.state[name]);
      const usual = TEXTS.includes(name) ? this.defaults[name] : JSON.stringify(this.defaults[name]);
      if (text !== usual) written.set(name, text);
    }
    this.address = `#${written}`;
    history.replaceState(null, "", this.address);
  }

  /** Show the view of a new URL, from the address bar or a link. */
  follow() {
    if (location.hash === this.address) return;
    const given = { ...this.defaults, ...this.readAddress() };
    for (const name of [...TEXTS, ...VALUES]) this.set(name, given[name]);
  }

  // -- ratings -------------------------------------------------------------------------------------------------

  readStored() {
    try {
      return JSON.parse(localStorage.getItem(this.storage)) ?? {};
    } catch {
      return {}; // no storage: ratings last as long as the page is open
    }
  }

  store(ratings) {
    try {
      localStorage.setItem(this.storage, JSON.stringify(ratings));
    } catch {
      // no storage: ratings last as long as the page is open
    }
  }

  // -- requests ------------------------------------------------------------------------------------------------

  send(request) {
    setTimeout(() => {
      const [reply, buffers] = this.replyTo(request);
      this.notify("msg:custom", { to: request, ...reply }, buffers);
    });
  }

  replyTo({ ask, images, image }) {
    if (ask === "document") return [{ document: this.content }, []];
    if (ask === "thumbs") {
      const missing = images.filter((key) => !this.sources.thumbs[key]);
      const found = images.filter((key) => this.sources.thumbs[key]).map((key) => this.read("thumbs", key));
      const kinds = found.map(({ kind }) => kind);
      return [{ kinds, missing, urls: found.map(({ url }) => url) }, found.map(({ bytes }) => bytes)];
    }
    if (ask === "full" && this.sources.fulls[image]) {
      const { kind, url, bytes } = this.read("fulls", image);
      return [{ kind, url }, bytes ? [bytes] : []];
    }
    return [{ problem: "This page has only the preview of this image." }, []];
  }

  /** Return an image: its bytes from this page, or the URL of the file beside the page. */
  read(group, key) {
    const { kind, id, url } = this.sources[group][key];
    if (url) return { kind, url };
    const text = atob(document.getElementById(id).textContent);
    return { kind, bytes: Uint8Array.from(text, (letter) => letter.charCodeAt(0)) };
  }
}

const model = new PageModel(JSON.parse(document.getElementById("explorer").textContent));
render({ model, el: document.getElementById("main") });

/**
 * The place beside the list (on a phone: instead of it) where one note is read, written, and its history shown; or,
 * while the list shows the past, what the note was then.
 *
 * Dispatches `close`, `tab` with `{tab}`, `opened` with `{id}` (a new note has got its number), `delete-note`,
 * `restore-note` and `revert-note` with `{id, version}`.
 */
import { button, element, iconButton, say, state } from "./dom.js";
import { NotFound } from "./notelog.js";
import { ago, count, date, field_labels } from "./words.js";
import "./note-form.js";
import "./note-history.js";

export class NotePanel extends HTMLElement {
  #notelog = null;
  #table = null;
  #notices = null;
  #id = undefined;
  #tab = "note";
  #past = null;
  #heading = element("h2", { tabindex: "-1", id: "panel-heading" });
  #version = element("span", { class: "tag" });
  #delete = iconButton("trash", "Delete this note", () => this.#tell("delete-note"));
  #tabs = { note: this.#tabButton("note", "Note"), history: this.#tabButton("history", "History") };
  #tabList = element("div", { class: "tab-list", role: "tablist", "aria-label": "Note" }, ...Object.values(this.#tabs));
  #form = element("note-form");
  #message = element("div", { class: "panel-message", hidden: true });
  #notePage = element("div", { role: "tabpanel", id: "page-note", "aria-labelledby": "tab-note" }, this.#message, this.#form);
  #history = element("note-history");
  #historyPage = element(
    "div",
    { role: "tabpanel", id: "page-history", "aria-labelledby": "tab-history", tabindex: "0" },
    this.#history,
  );

  connectedCallback() {
    if (this.firstChild) return;
    const close = iconButton("close", "Close", () => this.dispatchEvent(new Event("close")));
    const back = iconButton("back", "Back to the list", () => this.dispatchEvent(new Event("close")));
    back.classList.add("on-phone");
    close.classList.add("not-on-phone");
    const head = element("header", { class: "panel-head" }, back, this.#heading, this.#version, this.#delete, close);
    this.append(head, this.#tabList, element("div", { class: "panel-body" }, this.#notePage, this.#historyPage));
    this.#tabList.addEventListener("keydown", (event) => this.#tabKeys(event));
    this.#form.addEventListener("saved", ({ detail }) => this.#saved(detail));
    this.#form.addEventListener("failed", ({ detail }) => this.#notices.announce(detail.text));
    this.#form.addEventListener("close", () => this.dispatchEvent(new Event("close")));
    this.#form.addEventListener("layout", () => this.classList.toggle("broad", this.#form.isBroad && this.#tab === "note"));
    this.#history.addEventListener("revert", ({ detail }) => this.#tell("revert-note", detail));
  }

  configure({ notelog, table, editing, notices }) {
    this.#notelog = notelog;
    this.#table = table;
    this.#notices = notices;
    this.#form.editing = editing;
    this.#history.notelog = notelog;
    table.addEventListener("change", ({ detail }) => this.#tableChanged(detail));
  }

  /** @param {number|null} id null: a new note @param {"note"|"history"} tab @param {number|null} past a position */
  open(id, tab, past = null) {
    const isOther = id !== this.#id || past !== this.#past;
    const isOtherTab = tab !== this.#tab;
    [this.#id, this.#tab, this.#past] = [id, tab, past];
    this.hidden = false;
    this.#showTab();
    if (isOther) this.#load();
    if (tab === "history" && (isOther || isOtherTab)) this.#history.open(id);
  }

  close() {
    this.hidden = true;
    this.#id = undefined;
  }

  /** The number of the note that is open; null: a new one; undefined: none. */
  get noteId() {
    return this.#id;
  }

  /** Saves what is in the form, if a form is what is shown. */
  save() {
    if (!this.hidden && !this.#form.hidden) this.#form.save();
  }

  focusFirst() {
    if (this.#tab === "note" && !this.#form.hidden) this.#form.focusFirst();
    else this.#heading.focus();
  }

  #tabButton(name, label) {
    const options = { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `page-${name}` };
    const onclick = () => this.dispatchEvent(new CustomEvent("tab", { detail: { tab: name } }));
    return element("button", { ...options, onclick }, label);
  }

  #tabKeys(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    const tab = this.#tab === "note" ? "history" : "note";
    this.dispatchEvent(new CustomEvent("tab", { detail: { tab } }));
    this.#tabs[tab].focus();
  }

  #showTab() {
    for (const [name, tab] of Object.entries(this.#tabs)) {
      tab.setAttribute("aria-selected", name === this.#tab);
      tab.tabIndex = name === this.#tab ? 0 : -1;
    }
    this.#notePage.hidden = this.#tab !== "note";
    this.#historyPage.hidden = this.#tab !== "history";
    this.#tabList.hidden = this.#id === null;
    this.classList.toggle("broad", this.#form.isBroad && this.#tab === "note");
  }

  // What is shown of the note: the form, or why there is none.

  #load() {
    const note = this.#table.get(this.#id) ?? null;
    if (this.#past !== null) this.#loadPast();
    else if (this.#id === null || note) this.#showForm(note);
    else this.#askFor(this.#id);
  }

  #showForm(note) {
    this.#message.hidden = true;
    this.#form.hidden = false;
    this.#form.open(this.#id, note);
    this.#showHead(note);
  }

  #showHead(note) {
    say(this.#heading, this.#id === null ? "New note" : `Note ${this.#id}`);
    this.#version.hidden = note === null;
    say(this.#version, note ? `version ${note.version}` : "");
    this.#delete.hidden = note === null || this.#past !== null;
  }

  #showMessage(content) {
    this.#showHead(null);
    this.#form.hidden = true;
    this.#message.hidden = false;
    this.#message.replaceChildren(content);
  }

  /** Not in the list: not loaded yet, deleted, or never there. The service knows. */
  async #askFor(id) {
    this.#showMessage(element("p", { class: "hint" }, "Reading the note…"));
    try {
      const note = await this.#notelog.note(id);
      if (id === this.#id && this.#past === null) this.#showForm(this.#table.get(id) ?? note);
    } catch (error) {
      if (id === this.#id && this.#past === null) this.#showMissing(error);
    }
  }

  #showMissing(error) {
    if (!(error instanceof NotFound)) {
      const again = button("Try again", () => this.#load());
      this.#showMessage(state("warning", "The note could not be read", error.message, again));
    } else if (error.deletedAt) this.#showDeleted(error.deletedAt);
    else this.#showMessage(state("search", "No such note", `There is no note ${this.#id}.`));
  }

  #showDeleted(at) {
    const restore = button("Restore it", () => this.#tell("restore-note"), { class: "primary" });
    const when = at ? ` ${ago(at, this.#notelog.now())}` : "";
    this.#showMessage(state("trash", "This note was deleted", `It was deleted${when}. Its history is kept.`, restore));
  }

  async #loadPast() {
    const [id, past] = [this.#id, this.#past];
    this.#showMessage(element("p", { class: "hint" }, "Reading the note as it was…"));
    try {
      const note = await this.#notelog.note(id, { as_of: past });
      if (id === this.#id && past === this.#past) this.#showPast(note);
    } catch (error) {
      if (id === this.#id && past === this.#past) this.#showMissing(error);
    }
  }

  #showPast(note) {
    const revert = button("Make it this again", () => this.#tell("revert-note", { version: note.version }));
    const fields = { priority: note.priority, created_by: note.created_by, created_at: date(note.created_at) };
    const terms = Object.entries(fields).flatMap(([name, value]) => [
      element("dt", {}, field_labels[name]),
      element("dd", {}, String(value)),
    ]);
    this.#showMessage(
      element(
        "article",
        { class: "past-note" },
        element("p", { class: "banner past" }, `As it was at position ${count(this.#past)}`),
        element("h3", {}, note.title),
        element("p", { class: "past-text" }, note.description || "No description"),
        element("dl", { class: "facts" }, ...terms),
        element("div", { class: "actions" }, revert),
      ),
    );
    this.#showHead(note);
  }

  // What happens.

  #tableChanged({ changed, removed }) {
    if (this.hidden || this.#id === null || this.#past !== null) return;
    const id = this.#id;
    if (this.#tab === "history" && (changed.has(id) || removed.has(id))) this.#history.open(id);
    if (changed.has(id)) this.#noteChanged(this.#table.get(id));
    else if (removed.has(id)) this.#noteRemoved();
  }

  #noteChanged(note) {
    if (this.#form.hidden) return this.#showForm(note);
    this.#form.changed(note);
    this.#showHead(note);
  }

  #noteRemoved() {
    this.#form.changed(null);
    this.#showHead(null);
    if (!this.#form.hasDraft) this.#showDeleted(null);
  }

  #saved({ note, isNew }) {
    this.#notices.announce(`Saved as version ${note.version}.`);
    this.#id = note.id;
    this.#showHead(note);
    if (isNew) this.dispatchEvent(new CustomEvent("opened", { detail: { id: note.id } }));
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail: { id: this.#id, ...detail }, bubbles: true }));
  }
}

customElements.define("note-panel", NotePanel);

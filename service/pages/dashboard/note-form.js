/**
 * The form of one note, new or known. What is typed goes to `Editing` with every key; what comes in from outside fills
 * only a form in which nothing was typed.
 *
 * Dispatches `saved` with `{note, isNew}`, `failed` with `{text}`, `layout` and `close`.
 */
import { button, element, say, state } from "./dom.js";
import { Invalid, Unauthorized } from "./notelog.js";
import { isGone, isUnsettled, textsOf } from "./editing.js";
import { changedFields, field_labels, field_names } from "./words.js";
import "./note-conflict.js";

const title_characters_max = 200;
const description_characters_max = 65_536;

export class NoteForm extends HTMLElement {
  /** @type {import("./editing.js").Editing} */
  #editing = null;
  #id = null;
  #note = null;
  #inputs = {};
  #errors = {};
  /** Nothing has been typed since the last save. */
  #isJustSaved = false;
  #banner = element("div", { class: "form-banner" });
  #status = element("p", { class: "form-status" });
  #save = button("Save", () => this.save(), { class: "primary", type: "submit" });
  #discard = button("Discard", () => this.discard(), { class: "quiet" });
  #form = element("form", { novalidate: true, autocomplete: "off" });
  #conflict = element("note-conflict", { hidden: true });

  connectedCallback() {
    if (this.firstChild) return;
    this.#form.append(
      this.#banner,
      this.#field("title", element("input", { type: "text", maxlength: title_characters_max, required: true })),
      this.#field("description", element("textarea", { rows: 9, maxlength: description_characters_max })),
      element(
        "div",
        { class: "form-row" },
        this.#field("priority", element("input", { type: "number", step: 1 })),
        this.#field("created_by", element("input", { type: "text", maxlength: title_characters_max })),
        this.#field("created_at", element("input", { type: "text", placeholder: "now" })),
      ),
      element("div", { class: "form-foot" }, this.#save, this.#discard, this.#status),
    );
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    this.#form.addEventListener("input", (event) => this.#typed(event.target));
    this.#conflict.addEventListener("resolve", (event) => this.#resolved(event.detail));
    this.#conflict.addEventListener("discard", () => this.discard());
    this.append(this.#form, this.#conflict);
  }

  set editing(editing) {
    this.#editing = editing;
    editing.addEventListener("change", ({ detail }) => detail.id === this.#id && this.#show());
    editing.addEventListener("saved", ({ detail }) => this.#saved(detail));
  }

  /** @param {number|null} id null: a new note @param {object|null} note what it is, as far as it is known */
  open(id, note) {
    this.#isJustSaved = this.#isJustSaved && id === this.#id;
    this.#id = id;
    this.#note = note;
    this.#conflict.clear();
    this.#fill();
    this.#show();
  }

  /** The note is something else now, or (null) deleted. */
  changed(note) {
    this.#isJustSaved = this.#isJustSaved && note?.version === this.#note?.version;
    this.#note = note;
    const draft = this.#editing.draft(this.#id);
    if (draft?.conflict && note) this.#editing.compare(this.#id, note);
    if (!draft) this.#fill();
    this.#show();
  }

  focusFirst() {
    const target = this.#conflict.hidden ? this.#inputs.title : this.#conflict.querySelector(".banner");
    target?.focus();
  }

  get hasDraft() {
    return this.#editing.draft(this.#id) !== undefined;
  }

  /** Two versions side by side want room. */
  get isBroad() {
    return !this.#conflict.hidden;
  }

  async save() {
    if (!this.#editing.draft(this.#id)) {
      if (this.#id !== null) return this.#tellStatus("Nothing to save.");
      this.#editing.type(null, null, "title", this.#inputs.title.value);
    }
    await this.#editing.save(this.#id);
    this.#focusTrouble();
  }

  discard() {
    this.#editing.discard(this.#id);
    this.#conflict.clear();
    this.#fill();
    this.#show();
    if (this.#id === null) this.dispatchEvent(new Event("close"));
    else this.focusFirst();
  }

  #field(name, control) {
    const error = element("p", { class: "field-error", id: `error-${name}`, hidden: true });
    control.id = `field-${name}`;
    control.name = name;
    control.setAttribute("aria-describedby", error.id);
    this.#inputs[name] = control;
    this.#errors[name] = error;
    return element("div", { class: `field ${name}` }, element("label", { for: control.id }, field_labels[name]), control, error);
  }

  #typed(input) {
    if (!(input.name in this.#inputs)) return;
    this.#isJustSaved = false;
    this.#editing.type(this.#id, this.#note, input.name, input.value);
    this.#showError(input.name, null);
    this.#show();
  }

  /** Writes into the fields; only where the text differs, so that a cursor stays where it is. */
  #fill() {
    const texts = this.#editing.draft(this.#id)?.fields ?? textsOf(this.#note);
    for (const name of field_names) {
      if (this.#inputs[name].value !== texts[name]) this.#inputs[name].value = texts[name];
    }
    this.#inputs.created_by.placeholder = this.#id === null ? "you" : "";
  }

  #show() {
    const draft = this.#editing.draft(this.#id);
    const theirs = draft?.conflict ?? null;
    if (theirs) this.#conflict.show(draft, theirs);
    this.#conflict.hidden = theirs === null;
    this.#form.hidden = theirs !== null;
    this.#showBanner(draft);
    this.#showErrors();
    this.#showStatus(draft);
    this.dispatchEvent(new Event("layout"));
  }

  #showBanner(draft) {
    const isGoneNow = this.#id !== null && draft && (this.#note === null || isGone(this.#editing.error(this.#id)));
    const isOlder = draft?.base && this.#note && this.#note.version !== draft.base.version && !draft.pending;
    if (isGoneNow) this.#banner.replaceChildren(this.#goneBanner());
    else if (isOlder) this.#banner.replaceChildren(this.#olderBanner(draft));
    else this.#banner.replaceChildren();
  }

  #goneBanner() {
    const actions = [
      button("Bring it back with my text", () => this.#editing.restoreAndSave(this.#id)),
      button("Save as a new note", () => this.#saveAsNew()),
    ];
    const banner = state("warning", "This note was deleted meanwhile", "What you typed is kept.", ...actions);
    banner.className = "banner warn";
    return banner;
  }

  #olderBanner(draft) {
    const [before, now] = [textsOf(draft.base), textsOf(this.#note)];
    const names = Object.fromEntries(field_names.filter((name) => before[name] !== now[name]).map((name) => [name, 1]));
    const what = changedFields(names) || "note";
    return element(
      "div",
      { class: "banner warn" },
      element("p", {}, `Somebody changed the ${what} meanwhile (version ${this.#note.version}). Your text is untouched.`),
      button("Compare", () => this.#compare()),
    );
  }

  #compare() {
    this.#editing.compare(this.#id, this.#note);
    this.focusFirst();
  }

  async #saveAsNew() {
    this.#editing.asNew(this.#id);
    await this.#editing.save(this.#id);
  }

  async #resolved({ fields, theirs, save }) {
    this.#editing.resolve(this.#id, fields, theirs);
    this.#conflict.clear();
    this.#fill();
    this.#show();
    if (save) await this.save();
    this.focusFirst();
  }

  #saved({ id, note }) {
    if (id !== this.#id) return;
    const isNew = note.id !== id;
    this.#id = note.id;
    this.#note = note;
    this.#isJustSaved = true;
    this.#conflict.clear();
    this.#fill();
    this.#show();
    this.dispatchEvent(new CustomEvent("saved", { detail: { note, isNew } }));
  }

  #showErrors() {
    const error = this.#editing.error(this.#id);
    const errors = error instanceof Invalid ? error.errors : [];
    for (const name of field_names) {
      const own = errors.filter(({ pointer }) => pointer.replace(/^#/, "") === `/${name}`);
      this.#showError(name, own.length ? own.map(({ detail }) => sentence(detail)).join(" ") : null);
    }
  }

  #showError(name, text) {
    this.#errors[name].hidden = text === null;
    say(this.#errors[name], text ?? "");
    if (text === null) this.#inputs[name].removeAttribute("aria-invalid");
    else this.#inputs[name].setAttribute("aria-invalid", "true");
  }

  #showStatus(draft) {
    const isBusy = this.#editing.isBusy(this.#id);
    this.#save.setAttribute("aria-disabled", isBusy || (!draft && this.#id !== null));
    this.#discard.hidden = !draft;
    this.#status.classList.toggle("bad", Boolean(this.#editing.error(this.#id)));
    this.#tellStatus(isBusy ? "Saving…" : this.#sentence(draft));
  }

  #sentence(draft) {
    const error = this.#editing.error(this.#id);
    if (error instanceof Unauthorized) return "Not saved. A token is needed. Your text is kept.";
    if (error && isUnsettled(error)) return "No answer from the service. Your text is kept and will be sent again.";
    if (error) return `Not saved. ${sentence(error.message)} Your text is kept.`;
    if (draft) return "Not saved yet. Kept in this tab.";
    if (!this.#note) return "";
    return this.#isJustSaved ? `Saved as version ${this.#note.version}.` : `Version ${this.#note.version}`;
  }

  #tellStatus(text) {
    say(this.#status, text);
  }

  #focusTrouble() {
    const text = this.#conflict.hidden ? this.#status.textContent : "This note changed while you were writing.";
    const failed = this.#editing.error(this.#id) || !this.#conflict.hidden;
    if (failed) this.dispatchEvent(new CustomEvent("failed", { detail: { text } }));
    const wrong = field_names.find((name) => this.#inputs[name].hasAttribute("aria-invalid"));
    if (wrong) this.#inputs[wrong].focus();
    else if (!this.#conflict.hidden) this.focusFirst();
  }
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}

customElements.define("note-form", NoteForm);

/**
 * Yours beside theirs: two people changed one note, and one of them now chooses, field by field.
 *
 * Dispatches `resolve` with `{fields, theirs, save}` and `discard`.
 */
import { button, element } from "./dom.js";
import { sideView } from "./difference-view.js";
import { textsOf } from "./editing.js";
import { field_labels, field_names, shown } from "./words.js";

/** The fields that differ, and who changed them: `{name, base, yours, theirs, byYou, byThem}`. */
export function conflictsOf(base, yourTexts, theirs) {
  const [before, other] = [base ? textsOf(base) : null, textsOf(theirs)];
  const rows = field_names.map((name) => ({
    name,
    base: before ? before[name] : null,
    yours: yourTexts[name],
    theirs: other[name],
    byYou: !before || yourTexts[name] !== before[name],
    byThem: !before || other[name] !== before[name],
  }));
  return rows.filter(({ yours, theirs: their }) => yours !== their);
}

export class NoteConflict extends HTMLElement {
  #fields = null;
  #theirs = null;
  /** @type {Map<string, "yours"|"theirs">} kept when their version changes once more */
  #chosen = new Map();

  /** @param {{base: object|null, fields: object}} draft @param {object} theirs the note as it is */
  show(draft, theirs) {
    if (this.#fields === draft.fields && this.#theirs === theirs) return;
    this.#fields = draft.fields;
    this.#theirs = theirs;
    const rows = conflictsOf(draft.base, draft.fields, theirs);
    for (const row of rows) if (!this.#chosen.has(row.name)) this.#chosen.set(row.name, row.byYou ? "yours" : "theirs");
    this.replaceChildren(this.#head(theirs), ...rows.map((row) => this.#choice(row)), this.#actions());
  }

  /** Forgets what was chosen. */
  clear() {
    this.#chosen.clear();
    this.#fields = this.#theirs = null;
    this.replaceChildren();
  }

  #head(theirs) {
    return element(
      "div",
      { class: "banner warn", tabindex: "-1" },
      element("h3", {}, "This note changed while you were writing"),
      element("p", {}, `It is now at version ${theirs.version}. Choose what each field shall be. Nothing is saved until you do.`),
    );
  }

  #choice(row) {
    const cards = ["yours", "theirs"].map((side) => this.#card(row, side));
    const legend = element("legend", {}, field_labels[row.name]);
    return element("fieldset", { class: "choice" }, legend, element("div", { class: "sides" }, ...cards));
  }

  #card(row, side) {
    const radio = element("input", {
      type: "radio",
      name: `choice-${row.name}`,
      value: side,
      checked: this.#chosen.get(row.name) === side,
      onchange: () => this.#chosen.set(row.name, side),
    });
    const changed = side === "yours" ? row.byYou : row.byThem;
    const who = side === "yours" ? "Yours" : "Theirs";
    const name = element("span", { class: "side-name" }, radio, who, changed ? null : element("small", {}, "not changed"));
    return element("label", { class: "side" }, name, this.#value(row, side));
  }

  #value(row, side) {
    if (row.name === "title" || row.name === "description") return sideView(row.base, row[side]);
    return element("div", { class: "difference" }, shownText(row.name, row[side]));
  }

  #actions() {
    return element(
      "div",
      { class: "actions" },
      button("Save this", () => this.#resolve(true), { class: "primary" }),
      button("Go on writing", () => this.#resolve(false)),
      button("Discard mine", () => this.dispatchEvent(new Event("discard")), { class: "quiet" }),
    );
  }

  #resolve(save) {
    const fields = textsOf(this.#theirs);
    for (const [name, side] of this.#chosen) if (side === "yours") fields[name] = this.#fields[name];
    this.dispatchEvent(new CustomEvent("resolve", { detail: { fields, theirs: this.#theirs, save } }));
  }
}

function shownText(name, text) {
  return name === "created_at" && Number.isNaN(Date.parse(text)) ? text : shown(name, text);
}

customElements.define("note-conflict", NoteConflict);

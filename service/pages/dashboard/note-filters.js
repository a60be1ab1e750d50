/**
 * The line above the list: order, author, priority, and how many notes are shown of how many.
 *
 * Dispatches `choose` with the choice (see `everything` in notes.js).
 */
import { button, element, icon, say } from "./dom.js";
import { everything, orders } from "./notes.js";
import { count, counted } from "./words.js";

/** More authors than this do not fit a list to choose from: the search finds the others. */
const authors_shown_max = 300;
/** Typing stops for this long before the search is done. */
const typing_pause_ms = 120;

const byName = new Intl.Collator();

export class NoteFilters extends HTMLElement {
  choice = everything;
  /** The table and its edition of authors that the list to choose from was made of. */
  #authorsOf = [null, 0];
  #order = element("select", { id: "order", onchange: () => this.#chosen({ order: this.#order.value }) });
  #author = element("select", { id: "author", onchange: () => this.#chosen({ author: this.#author.value }) });
  #least = this.#priorityInput("Lowest priority", "priorityMin", "min");
  #most = this.#priorityInput("Highest priority", "priorityMax", "max");
  #count = element("p", { class: "count" });
  #reset = button("Clear", () => this.clear(), { class: "quiet", hidden: true });
  #more = element("button", { type: "button", class: "icon-button filters-toggle", "aria-expanded": "false" });
  #fields = element("div", { class: "filter-fields", id: "filter-fields" });
  #search = null;
  #typing = null;

  connectedCallback() {
    for (const [name, { label }] of Object.entries(orders)) this.#order.append(option(name, label));
    this.#author.append(option("", "Everyone"));
    const range = element("div", { class: "range", role: "group", "aria-label": "Priority" });
    range.append(element("span", { class: "label", "aria-hidden": "true" }, "Priority"), this.#least, "–", this.#most);
    this.#fields.append(labelled("Sort", this.#order), labelled("Author", this.#author), range, this.#reset);
    this.#more.append(icon("filter"));
    this.#more.setAttribute("aria-label", "Sort and filter");
    this.#more.setAttribute("aria-controls", "filter-fields");
    this.#more.addEventListener("click", () => this.#toggle());
    this.append(this.#count, this.#more, this.#fields);
  }

  /** The search field stands elsewhere in the page, but is part of the choice. */
  set search(input) {
    this.#search = input;
    input.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#chosen({ query: input.value }), typing_pause_ms);
    });
  }

  clear() {
    this.#author.value = "";
    this.#least.value = this.#most.value = this.#search.value = "";
    this.#chosen({ ...everything, order: this.choice.order });
  }

  /** @param {import("./notes.js").NoteTable} table what is shown */
  show(table) {
    const [shown, all] = [table.view.length, table.size];
    say(this.#count, shown === all ? counted(all, "note") : `${count(shown)} of ${counted(all, "note")}`);
    this.#showAuthors(table);
  }

  #showAuthors(table) {
    const { authors, authorsEdition } = table;
    if (this.#authorsOf[0] === table && this.#authorsOf[1] === authorsEdition) return;
    this.#authorsOf = [table, authorsEdition];
    const names = Array.from(authors.keys());
    if (this.choice.author && !authors.has(this.choice.author)) names.push(this.choice.author);
    names.sort(byName.compare).splice(authors_shown_max);
    this.#author.replaceChildren(option("", "Everyone"), ...names.map((name) => option(name, name)));
    this.#author.value = this.choice.author;
  }

  #priorityInput(label, name, hint) {
    const input = element("input", { type: "number", step: "1", placeholder: hint, "aria-label": label });
    input.addEventListener("input", () => {
      this.#chosen({ [name]: Number.isNaN(input.valueAsNumber) ? null : input.valueAsNumber });
    });
    return input;
  }

  #chosen(change) {
    this.choice = { ...this.choice, ...change };
    const { order: _, ...filters } = this.choice;
    const narrowed = Object.entries(filters).some(([name, value]) => value !== everything[name]);
    this.#reset.hidden = !narrowed;
    this.classList.toggle("narrowed", narrowed);
    this.dispatchEvent(new CustomEvent("choose", { detail: this.choice }));
  }

  #toggle() {
    const open = this.classList.toggle("open");
    this.#more.setAttribute("aria-expanded", open);
  }
}

function option(value, label) {
  return element("option", { value }, label);
}

function labelled(text, control) {
  return element("div", { class: "labelled" }, element("label", { class: "label", for: control.id }, text), control);
}

customElements.define("note-filters", NoteFilters);

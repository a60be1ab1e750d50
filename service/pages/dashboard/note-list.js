/**
 * The list. Only the rows that can be seen are in the page, whatever the number of notes; each says its place among
 * all of them. One row is in the tab order, the others are reached by the arrow keys.
 *
 * What a person looks at stays where it is: when notes come in above, the list is moved by just as much, and says so.
 *
 * Dispatches `open-note` with `{id}` and `delete-note` with `{id}`.
 */
import { counted } from "./words.js";
import { change, element, icon, say } from "./dom.js";
import "./note-row.js";

/** Rows drawn beyond each edge, so that quick scrolling does not show holes. */
const rows_beyond = 8;
/** How long a changed row is marked. */
const mark_shown_ms = 4_000;
/** How often "2 min ago" is looked at again. */
const age_every_ms = 20_000;

export class NoteList extends HTMLElement {
  #table = null;
  #drafts = null;
  #now = Date.now;
  #rows = new Map();
  #marked = new Map();
  #active = null;
  #open = null;
  #above = 0;
  #rowHeight = 1;
  #height = -1;
  #drawing = false;
  #canvas = element("div", { class: "canvas", role: "presentation" });
  #viewport = element("div", { class: "viewport", role: "listbox", "aria-label": "Notes", id: "notes" }, this.#canvas);
  #ruler = element("div", { class: "row-ruler", "aria-hidden": "true" });
  #news = element("button", { type: "button", class: "news", hidden: true, onclick: () => this.#toNews() });
  #newsText = element("span");
  #placeholder = element("div", { class: "placeholder", hidden: true });
  #onChange = (event) => this.#changed(event.detail);

  connectedCallback() {
    this.#news.append(icon("up"), this.#newsText);
    this.append(this.#ruler, this.#viewport, this.#news, this.#placeholder);
    this.#viewport.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.#canvas.addEventListener("click", (event) => this.#clicked(event));
    this.#canvas.addEventListener("keydown", (event) => this.#pressed(event));
    this.#canvas.addEventListener("focusin", (event) => this.#focused(event));
    const observer = new ResizeObserver(() => this.#measure());
    observer.observe(this.#viewport);
    observer.observe(this.#ruler);
    setInterval(() => this.#age(), age_every_ms);
  }

  /** @param {{drafts: import("./drafts.js").Drafts, now: () => number}} tools */
  configure({ drafts, now }) {
    this.#drafts = drafts;
    this.#now = now;
    drafts.addEventListener("change", () => this.#draw());
  }

  /** Shows another table: that of the present or one of the past. */
  set table(table) {
    this.#table?.removeEventListener("change", this.#onChange);
    this.#table = table;
    table.addEventListener("change", this.#onChange);
    this.#clearNews();
    this.#draw();
  }

  /** The note that is open beside the list. */
  set open(id) {
    this.#open = id;
    if (id !== null && this.#indexOf(id) >= 0) this.#active = id;
    this.#draw();
  }

  /** What stands there while there are no rows; null: rows. */
  set placeholder(content) {
    this.#placeholder.replaceChildren(...(content ? [content] : []));
    this.#placeholder.hidden = content === null;
    this.#viewport.hidden = content !== null;
    if (!content) return;
    this.#clearNews();
    for (const [id, row] of this.#rows) this.#drop(id, row);
  }

  get activeId() {
    return this.#active;
  }

  focusActive() {
    this.#render();
    (this.#rows.get(this.#active) ?? this.#canvas.firstElementChild)?.focus();
  }

  /** Shows the beginning, and leaves the focus where it is. */
  toStart() {
    this.#viewport.scrollTop = 0;
    this.#clearNews();
    this.#draw();
  }

  /** Goes a number of rows up or down from where it is. */
  step(by) {
    this.#go(Math.max(0, this.#indexOf(this.#active)) + (this.#rows.has(this.#active) ? by : 0));
  }

  // What comes in.

  #changed({ changed, removed, live }) {
    if (live) this.#mark(changed);
    this.#keepPlace(changed, live);
    this.#moveActive(removed);
    this.#draw();
  }

  #mark(ids) {
    const until = performance.now() + mark_shown_ms;
    for (const id of ids) this.#marked.set(id, until);
    setTimeout(() => this.#unmark(), mark_shown_ms + 50);
  }

  #unmark() {
    for (const [id, until] of this.#marked) {
      if (until > performance.now()) continue;
      this.#marked.delete(id);
      this.#rows.get(id)?.classList.remove("changed");
    }
  }

  /** Finds a row that stays, and moves the list so that it stands where it stood. */
  #keepPlace(changed, live) {
    const top = this.#viewport.scrollTop;
    const hasFocus = this.#viewport.contains(document.activeElement);
    if (!live || (top < this.#rowHeight / 2 && !hasFocus)) return;
    const anchor = this.#anchor(changed, hasFocus);
    if (!anchor) return;
    const index = this.#indexOf(anchor.note.id);
    if (index < 0 || index === anchor.index) return;
    this.#size();
    this.#viewport.scrollTop = top + (index - anchor.index) * this.#rowHeight;
    if (this.#table.choice.order === "latest") this.#countAbove(changed);
  }

  #anchor(changed, hasFocus) {
    const active = this.#rows.get(this.#active);
    if (hasFocus && active && !changed.has(this.#active)) return active;
    const top = this.#viewport.scrollTop;
    const seen = Array.from(this.#rows.values()).filter((row) => row.index * this.#rowHeight >= top - 1);
    return seen.sort((one, other) => one.index - other.index).find((row) => !changed.has(row.note.id));
  }

  #countAbove(changed) {
    const first = Math.floor(this.#viewport.scrollTop / this.#rowHeight);
    const above = this.#table.view.slice(0, first);
    this.#above += above.filter((note) => changed.has(note.id)).length;
    this.#news.hidden = this.#above === 0;
    say(this.#newsText, `${counted(this.#above, "change")} above`);
  }

  #clearNews() {
    this.#above = 0;
    this.#news.hidden = true;
  }

  /** When the row with the focus goes, its neighbour takes over, so that a keyboard is not lost. */
  #moveActive(removed) {
    if (!removed.has(this.#active)) return;
    const row = this.#rows.get(this.#active);
    const hadFocus = row && row === document.activeElement;
    const next = this.#table.view[Math.min(row?.index ?? 0, this.#table.view.length - 1)];
    this.#active = next?.id ?? null;
    if (hadFocus && next) this.focusActive();
  }

  // What is drawn.

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#render();
    });
  }

  #measure() {
    this.#rowHeight = this.#ruler.offsetHeight || 1;
    this.#render();
  }

  /** Written only when it changes: a write makes the next look at the scroll position wait for a layout. */
  #size() {
    const height = this.#table.view.length * this.#rowHeight;
    if (height !== this.#height) this.#canvas.style.height = `${height}px`;
    this.#height = height;
  }

  #render() {
    if (!this.#table || this.#viewport.hidden) return;
    this.#size();
    if (this.#viewport.scrollTop < this.#rowHeight / 2) this.#clearNews();
    const indexes = this.#wanted();
    const wanted = new Set(indexes.map((index) => this.#table.view[index].id));
    for (const [id, row] of this.#rows) if (!wanted.has(id)) this.#drop(id, row);
    const rows = indexes.map((index) => this.#place(index));
    inOrder(this.#canvas, rows);
    const inTabOrder = this.#rows.get(this.#active) ?? rows[0];
    for (const row of rows) change(row, "tabindex", row === inTabOrder ? 0 : -1);
  }

  #drop(id, row) {
    this.#rows.delete(id);
    row.remove();
  }

  /** The rows that can be seen, a few beyond, and the one that has the focus wherever it is. */
  #wanted() {
    const { view } = this.#table;
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / this.#rowHeight) - rows_beyond);
    const seen = Math.ceil(this.#viewport.clientHeight / this.#rowHeight);
    const last = Math.min(view.length, first + seen + 2 * rows_beyond);
    const indexes = Array.from({ length: Math.max(0, last - first) }, (_, offset) => first + offset);
    const active = this.#indexOf(this.#active);
    if (active < 0) return indexes;
    if (active < first) return [active, ...indexes];
    return active >= last ? [...indexes, active] : indexes;
  }

  #place(index) {
    const note = this.#table.view[index];
    let row = this.#rows.get(note.id);
    if (!row) {
      row = element("note-row", { class: "row" });
      this.#rows.set(note.id, row);
    }
    row.index = index;
    row.show(note, this.#now());
    row.hasDraft = this.#drafts.has(note.id);
    row.moveTo(index * this.#rowHeight);
    change(row, "aria-posinset", index + 1);
    change(row, "aria-setsize", this.#table.view.length);
    change(row, "aria-selected", note.id === this.#open);
    row.classList.toggle("changed", this.#marked.has(note.id));
    return row;
  }

  #age() {
    for (const row of this.#rows.values()) row.age(this.#now());
  }

  // What a person does.

  #indexOf(id) {
    if (id === null) return -1;
    const known = this.#rows.get(id)?.index;
    if (known !== undefined && this.#table.view[known]?.id === id) return known;
    return this.#table.view.findIndex((note) => note.id === id);
  }

  #toNews() {
    this.toStart();
    this.#go(0);
  }

  #go(to) {
    const { view } = this.#table;
    if (view.length === 0) return;
    const index = Math.min(view.length - 1, Math.max(0, to));
    this.#active = view[index].id;
    this.#show(index);
    this.#render();
    this.#rows.get(this.#active).focus({ preventScroll: true });
  }

  #show(index) {
    const [top, height] = [index * this.#rowHeight, this.#viewport.clientHeight];
    if (top < this.#viewport.scrollTop) this.#viewport.scrollTop = top;
    const below = top + this.#rowHeight - height;
    if (below > this.#viewport.scrollTop) this.#viewport.scrollTop = below;
  }

  #focused(event) {
    const row = event.target.closest("note-row");
    if (!row || row.note.id === this.#active) return;
    this.#active = row.note.id;
    this.#draw();
  }

  #clicked(event) {
    const row = event.target.closest("note-row");
    if (row) this.#tell("open-note", row.note.id);
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#viewport.clientHeight / this.#rowHeight) - 1);
    const at = this.#indexOf(this.#active);
    const keys = {
      ArrowDown: () => this.#go(at + 1),
      ArrowUp: () => this.#go(at - 1),
      PageDown: () => this.#go(at + page),
      PageUp: () => this.#go(at - page),
      Home: () => this.#go(0),
      End: () => this.#go(this.#table.view.length - 1),
      Enter: () => this.#tell("open-note", this.#active),
      " ": () => this.#tell("open-note", this.#active),
      Delete: () => this.#tell("delete-note", this.#active),
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  }

  #tell(type, id) {
    this.dispatchEvent(new CustomEvent(type, { detail: { id }, bubbles: true }));
  }
}

/** Puts the rows into the page in their order, so that it can be read from top to bottom, and keeps the focus. */
function inOrder(parent, rows) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let next = parent.firstElementChild;
  for (const row of rows) {
    if (row === next) next = next.nextElementSibling;
    else parent.insertBefore(row, next);
  }
  if (focused && rows.includes(focused) && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

customElements.define("note-list", NoteList);

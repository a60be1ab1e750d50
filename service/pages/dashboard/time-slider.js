/**
 * The slider through the log: the list as it was at any position or time.
 *
 * Dispatches `travel` with `{position}`, null: back to now; and fills `table` with what was there.
 */
import { button, element, iconButton, say } from "./dom.js";
import { Forbidden, Invalid, NotFound, NotelogError } from "./notelog.js";
import { NoteTable, orders } from "./notes.js";
import { count, counted, date } from "./words.js";

/** The slider stands still for this long before the list is asked for. */
const slide_pause_ms = 120;
/** Notes a page: the most that the service gives. */
const page_notes_max = 1_000;
/** More than this of the past is not read into a page; the list says so. */
const notes_max = 20_000;

export class TimeSlider extends HTMLElement {
  table = new NoteTable();
  /** @type {number|null} the position that the list shows, null: now */
  position = null;
  #notelog = null;
  #live = null;
  #reading = null;
  #waiting = null;
  #range = element("input", { type: "range", min: 0, max: 0, step: 1, id: "time-range" });
  #where = element("output", { class: "slider-where", for: "time-range" });
  #status = element("p", { class: "hint", role: "status" });
  #time = element("input", { type: "datetime-local", step: 1, id: "time-at" });

  connectedCallback() {
    if (this.firstChild) return;
    this.#range.addEventListener("input", () => this.#slide(this.#range.valueAsNumber));
    this.#time.addEventListener("change", () => this.#goToTime());
    const label = element("label", { class: "label", for: "time-range" }, "The list as it was");
    const head = element("div", { class: "slider-head" }, label, this.#where);
    const earlier = iconButton("left", "One event earlier", () => this.#step(-1));
    const later = iconButton("right", "One event later", () => this.#step(1));
    const at = element("div", { class: "labelled" }, element("label", { class: "label", for: "time-at" }, "At"), this.#time);
    const now = button("Back to now", () => this.leave(), { class: "primary small" });
    this.append(
      head,
      element("div", { class: "slider-line" }, earlier, this.#range, later),
      element("div", { class: "slider-foot" }, at, this.#status, now),
    );
  }

  configure({ notelog, live, filters }) {
    this.#notelog = notelog;
    this.#live = live;
    live.addEventListener("head", () => this.#headMoved());
    filters.addEventListener("choose", ({ detail }) => this.table.choose(detail));
  }

  enter() {
    this.hidden = false;
    this.#headMoved();
    this.#slide(this.#live.head);
    this.#range.focus();
  }

  /** Back to the present. */
  leave() {
    this.#stop();
    this.hidden = true;
    this.position = null;
    this.dispatchEvent(new CustomEvent("travel", { detail: { position: null } }));
  }

  #headMoved() {
    this.#range.max = this.#live.head;
  }

  #step(by) {
    this.#slide(Math.min(this.#live.head, Math.max(0, this.#range.valueAsNumber + by)));
  }

  #slide(position) {
    this.position = position;
    this.#range.value = position;
    this.#showWhere(null);
    this.#stop();
    this.#waiting = setTimeout(() => this.#read(position), slide_pause_ms);
    this.dispatchEvent(new CustomEvent("travel", { detail: { position } }));
  }

  #stop() {
    clearTimeout(this.#waiting);
    this.#reading?.abort();
    this.#reading = null;
  }

  #showWhere(at) {
    const position = this.#range.valueAsNumber;
    const place = position === 0 ? "Before the first event" : `Position ${count(position)} of ${count(this.#live.head)}`;
    say(this.#where, at ? `${place} · ${date(at)}` : place);
    this.#range.setAttribute("aria-valuetext", this.#where.textContent);
  }

  /** Page by page, so that the first rows are there at once. The old list stays until the new one has begun. */
  async #read(asOf) {
    const reading = new AbortController();
    this.#reading = reading;
    say(this.#status, "Reading…");
    try {
      this.#tellTime(asOf, reading.signal);
      await this.#readPages(asOf, reading.signal);
    } catch (error) {
      if (!reading.signal.aborted) this.#failed(error);
    }
  }

  async #readPages(asOf, signal) {
    const query = { as_of: asOf, limit: page_notes_max, sort: orders[this.table.choice.order].remote };
    let isFirst = true;
    for await (const page of this.#notelog.pages("notes", query, { signal })) {
      if (page.as_of === undefined) throw new NotelogError("This service cannot show the past.");
      if (isFirst) this.table.clear();
      isFirst = false;
      this.table.apply(page.notes);
      if (this.table.size >= notes_max) break;
    }
    this.table.completed();
    const cut = this.table.size >= notes_max ? `The first ${count(notes_max)} of more` : counted(this.table.size, "note");
    say(this.#status, `${cut} then`);
  }

  async #tellTime(position, signal) {
    if (typeof position !== "number" || position === 0) return;
    try {
      const { at } = await this.#notelog.event(position, { signal });
      if (this.#range.valueAsNumber === position) this.#showWhere(at);
    } catch {
      // The position alone has to do: `#readPages` says what is wrong, if anything is.
    }
  }

  /** A time of the person's own clock; the answer says which position it is. */
  async #goToTime() {
    if (this.#time.value === "") return;
    this.#stop();
    const asOf = new Date(this.#time.value).toISOString();
    try {
      const page = await this.#notelog.list({ as_of: asOf, limit: 1 });
      if (page.as_of === undefined) throw new NotelogError("This service cannot show the past.");
      this.#slide(page.as_of);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error) {
    const isMissing = error instanceof NotFound || error instanceof Invalid;
    if (isMissing) say(this.#status, "This service cannot show the past.");
    else if (error instanceof Forbidden) say(this.#status, "The past needs a token with the scope audit:read.");
    else say(this.#status, error.message);
  }
}

customElements.define("time-slider", TimeSlider);

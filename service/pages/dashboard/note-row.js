/** One row of the list. */
import { element, icon, say, unseen } from "./dom.js";
import { ago, colourOf, count, initials } from "./words.js";

const description_shown_max = 200;

export class NoteRow extends HTMLElement {
  /** @type {object|null} */
  note = null;
  #top_px = -1;
  #title = element("span", { class: "row-title" });
  #description = element("span", { class: "row-description" });
  #priority = element("span", { class: "row-priority" });
  #draft = element("span", { class: "row-draft", hidden: true }, icon("pencil"), unseen("has unsaved changes, "));
  #face = element("span", { class: "face", "aria-hidden": "true" });
  #author = element("span", { class: "row-author" });
  #time = element("time");

  connectedCallback() {
    if (this.firstChild) return;
    this.setAttribute("role", "option");
    this.append(
      this.#face,
      element("span", { class: "row-line" }, this.#title, this.#draft, this.#priority),
      element("span", { class: "row-line second" }, this.#description, this.#author, this.#time),
    );
  }

  /** @param {object} note @param {number} now_ms the service's time */
  show(note, now_ms) {
    if (note === this.note) return;
    this.note = note;
    this.id = `row-${note.id}`;
    say(this.#title, note.title);
    say(this.#description, note.description.slice(0, description_shown_max) || "No description");
    this.#description.classList.toggle("missing", note.description === "");
    this.#showPriority(note.priority);
    say(this.#author, note.created_by);
    say(this.#face, initials(note.created_by));
    this.#face.className = `face colour-${colourOf(note.created_by)}`;
    this.#time.dateTime = note.updated_at;
    this.age(now_ms);
  }

  /** @param {number} top_px from the top of the list */
  moveTo(top_px) {
    if (top_px !== this.#top_px) this.style.transform = `translateY(${top_px}px)`;
    this.#top_px = top_px;
  }

  /** Time passes: only the words for it change. */
  age(now_ms) {
    if (this.note) say(this.#time, ago(this.note.updated_at, now_ms));
  }

  set hasDraft(hasDraft) {
    this.#draft.hidden = !hasDraft;
  }

  #showPriority(priority) {
    this.#priority.hidden = priority === 0;
    this.#priority.className = `row-priority ${priority > 0 ? "high" : "low"}`;
    this.#priority.replaceChildren(unseen("priority "), count(priority));
  }
}

customElements.define("note-row", NoteRow);

/**
 * What happens: the head of the log, how far behind this page is, events a minute, and the events themselves, latest
 * first. A chosen event opens the history of its note.
 *
 * Dispatches `open-note` with `{id, tab: "history"}`.
 */
import { element, say, state } from "./dom.js";
import { Forbidden } from "./notelog.js";
import { ago, changedFields, colourOf, count, initials, verb } from "./words.js";
import "./event-chart.js";

/** Events in the page. */
const events_shown_max = 200;
/** Events of the past that are asked for at once, and how often, until the chart's half hour is full. */
const page_events_max = 250;
const pages_max = 4;
const chart_ms = 31 * 60_000;
const age_every_ms = 10_000;
/** How long a new event is marked. */
const mark_shown_ms = 4_000;

export class ActivityPanel extends HTMLElement {
  #notelog = null;
  #live = null;
  #table = null;
  #notes = null;
  #events = null;
  #titles = new Map();
  #waiting = [];
  #drawing = false;
  #head = element("dd", { id: "head" }, "–");
  #behind = element("dd", { id: "behind" }, "–");
  #epoch = element("dd", { id: "epoch" }, "–");
  #chart = element("event-chart");
  #list = element("ol", { class: "events", "aria-label": "Events, latest first" });
  #message = element("div", { class: "panel-message" });

  connectedCallback() {
    if (this.firstChild) return;
    const facts = element(
      "dl",
      { class: "tiles" },
      tile("Head", this.#head, "The last position in the log"),
      tile("Behind", this.#behind, "Positions that this page has not seen yet"),
      tile("Epoch", this.#epoch, "Which log this is"),
    );
    this.append(element("h2", {}, "Activity"), facts, this.#chart, this.#message, this.#list);
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    setInterval(() => this.#age(), age_every_ms);
  }

  /** @param {{notes: import("./notelog.js").Subscription}} tools `notes`: the subscription that fills the list */
  configure({ notelog, live, table, notes }) {
    [this.#notelog, this.#live, this.#table, this.#notes] = [notelog, live, table, notes];
    live.addEventListener("head", () => this.showPosition());
    live.addEventListener("state", () => this.#begin());
    this.#chart.show(notelog.now());
  }

  /** How far the list is behind the log. */
  showPosition() {
    const { head, epoch } = this.#live;
    const known = epoch !== null;
    const behind = Math.max(0, head - (this.#notes.position ?? 0));
    say(this.#head, known ? count(head) : "–");
    say(this.#behind, known ? count(behind) : "–");
    say(this.#epoch, known ? epoch.slice(0, 6) : "–");
    this.#epoch.title = epoch ?? "";
  }

  /** Once, at the first hello; from then on the subscription resumes by itself. */
  async #begin() {
    this.showPosition();
    if (this.#live.state !== "open" || this.#events) return;
    const { head, epoch } = this.#live;
    this.#events = { close() {} };
    const after = await this.#readPast(head);
    this.#events = this.#live.subscribe("events", after === null ? {} : { after, epoch }, {
      events: ({ events }) => this.#arrived(events, true),
      reset: () => this.#restart(),
      refused: (error) => this.#refused(error),
    });
  }

  #restart() {
    this.#events.close();
    this.#events = null;
    this.#titles.clear();
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#chart.clear();
    this.#begin();
  }

  /** @returns {Promise<number|null>} the position up to which the past is shown; null: this service does not show it */
  async #readPast(head) {
    const since_ms = this.#notelog.now() - chart_ms;
    this.#chart.knownSince = since_ms;
    let [before, earliest_ms] = [head + 1, Infinity];
    try {
      for (let page = 0; page < pages_max && before > 1 && earliest_ms > since_ms; page += 1) {
        const { events } = await this.#notelog.events({ before, limit: page_events_max });
        if (events.length === 0) break;
        events.sort((one, other) => one.position - other.position);
        this.#arrived(events, false);
        [before, earliest_ms] = [events[0].position, Date.parse(events[0].at)];
      }
      if (before > 1 && earliest_ms > since_ms) this.#chart.knownSince = earliest_ms;
      return head;
    } catch (error) {
      if (error instanceof Forbidden) this.#refused({ code: "forbidden" });
      this.#chart.knownSince = this.#notelog.now();
      return null;
    } finally {
      this.#draw();
    }
  }

  #refused({ code, message }) {
    const sentence = code === "forbidden" ? "Reading the events needs a token with the scope audit:read." : message;
    this.#message.replaceChildren(state("pulse", "No events here", sentence));
  }

  // What is drawn.

  #arrived(events, isLive) {
    this.#chart.add(events.map(({ at }) => at));
    for (const { note_id, data } of events) if (data.title) this.#titles.set(note_id, data.title);
    this.#waiting.push(...events.map((event) => ({ event, isLive })));
    if (this.#waiting.length > 4 * events_shown_max) this.#keepLatest();
    this.#draw();
  }

  #keepLatest() {
    this.#waiting.sort((one, other) => other.event.position - one.event.position).splice(events_shown_max);
    if (this.#titles.size > 20 * events_shown_max) this.#titles.clear();
  }

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#render();
    });
  }

  #render() {
    this.#keepLatest();
    const waiting = this.#waiting;
    this.#waiting = [];
    const shownMin = Number(this.#list.lastElementChild?.dataset.position ?? 0);
    const isOlder = waiting.length > 0 && waiting[0].event.position < shownMin;
    const rows = waiting.map(({ event, isLive }) => this.#row(event, isLive));
    if (isOlder) this.#list.append(...rows);
    else this.#list.prepend(...rows);
    setTimeout(() => rows.forEach((row) => row.classList.remove("fresh")), mark_shown_ms);
    while (this.#list.children.length > events_shown_max) this.#list.lastElementChild.remove();
    this.#chart.show(this.#notelog.now());
    this.#showEmpty();
  }

  #showEmpty() {
    if (this.#message.querySelector(".icon")) return;
    const isEmpty = this.#list.children.length === 0;
    this.#message.replaceChildren(...(isEmpty ? [element("p", { class: "hint" }, "Nothing has happened yet.")] : []));
  }

  #row(event, isLive) {
    const { position, note_id, type, at, actor, data } = event;
    const title = this.#table.get(note_id)?.title ?? this.#titles.get(note_id) ?? `note ${note_id}`;
    const face = element("span", { class: `face small colour-${colourOf(actor)}`, "aria-hidden": "true" }, initials(actor));
    const sentence = element("span", { class: "event-sentence" }, element("b", {}, actor), ` ${verb(type)} `, element("q", {}, title));
    const changed = type === "NoteEdited" ? changedFields(data) : "";
    const time = element("time", { datetime: at }, ago(at, this.#notelog.now()));
    const facts = element("span", { class: "event-facts" }, `${changed ? `${changed} · ` : ""}${count(position)} · `, time);
    const options = { type: "button", class: "event-button" };
    const open = element("button", options, face, element("span", { class: "event-text" }, sentence, facts));
    return element("li", { "data-position": position, "data-note": note_id, class: `${type}${isLive ? " fresh" : ""}` }, open);
  }

  #age() {
    for (const time of this.#list.querySelectorAll("time")) say(time, ago(time.dateTime, this.#notelog.now()));
    this.#chart.show(this.#notelog.now());
  }

  #clicked(event) {
    const row = event.target.closest("li");
    if (!row) return;
    const detail = { id: Number(row.dataset.note), tab: "history" };
    this.dispatchEvent(new CustomEvent("open-note", { detail, bubbles: true }));
  }
}

function tile(name, value, title) {
  return element("div", { title }, element("dt", {}, name), value);
}

customElements.define("activity-panel", ActivityPanel);

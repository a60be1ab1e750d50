/**
 * The life of one note, latest change first: who, when, and what differs.
 *
 * Dispatches `revert` with `{version}`.
 */
import { button, element, state } from "./dom.js";
import { differenceView } from "./difference-view.js";
import { Forbidden, NotFound } from "./notelog.js";
import { ago, count, counted, exactDate, field_labels, field_names, shown, verb } from "./words.js";

/** Changes read at once; a longer life is read on by a button. */
const changes_read_max = 1_000;

export class NoteHistory extends HTMLElement {
  #notelog = null;
  #id = null;
  #changes = [];
  #pages = null;
  #reading = null;

  set notelog(notelog) {
    this.#notelog = notelog;
  }

  /** Reads the history of a note; what an older call still has to say is not shown. */
  async open(id) {
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    if (id !== this.#id) this.replaceChildren(element("p", { class: "hint", role: "status" }, "Reading the history…"));
    this.#id = id;
    try {
      this.#pages = this.#notelog.pages(`notes/${id}/history`, {}, { signal: reading.signal });
      this.#changes = [];
      await this.#readOn();
    } catch (error) {
      if (!reading.signal.aborted) this.replaceChildren(trouble(error, () => this.open(id)));
    }
  }

  async #readOn() {
    const [pages, changes] = [this.#pages, this.#changes];
    const until = changes.length + changes_read_max;
    let ended = false;
    while (!ended && changes.length < until) {
      const { value, done } = await pages.next();
      if (pages !== this.#pages) return;
      ended = done;
      if (value) changes.push(...value.history);
    }
    this.#show(ended);
  }

  #show(ended) {
    const latest = this.#changes.at(-1)?.version;
    const cards = this.#changes.map((change) => this.#card(change, ended && change.version === latest));
    const heading = element("p", { class: "hint" }, counted(this.#changes.length, "version"));
    const more = ended ? null : button("Read on: there are newer changes", () => this.#readOn(), { class: "wide" });
    this.replaceChildren(heading, ...(more ? [more] : []), element("ol", { class: "history", reversed: true }, ...cards.reverse()));
  }

  #card({ position, version, type, at, actor, changes }, isLatest) {
    const time = element("time", { datetime: at, title: exactDate(at) }, ago(at, this.#notelog.now()));
    const head = element(
      "header",
      {},
      element("strong", {}, `Version ${version}`),
      element("span", {}, `${actor} ${verb(type)} it`),
      time,
    );
    const foot = element("footer", {}, element("small", {}, `Position ${count(position)}`));
    const canRevert = !isLatest && type !== "NoteDeleted";
    if (canRevert) foot.append(button("Make it this again", () => this.#revert(version), { class: "quiet small" }));
    return element("li", { class: `change ${type}` }, head, ...this.#fields(type, changes), foot);
  }

  #fields(type, changes) {
    const entries = field_names.filter((name) => name in changes).map((name) => [name, changes[name]]);
    if (type === "NoteDeleted") return [element("p", { class: "hint" }, "The note was deleted.")];
    if (entries.length === 0) return [element("p", { class: "hint" }, "The note came back as it was.")];
    const known = entries.filter(([, [before, after]]) => !(before === null && (after === "" || after === 0)));
    return [element("dl", {}, ...known.flatMap(([name, [before, after]]) => changeOf(name, before, after)))];
  }

  #revert(version) {
    this.dispatchEvent(new CustomEvent("revert", { detail: { version } }));
  }
}

function changeOf(name, before, after) {
  const isText = name === "title" || name === "description";
  const [from, to] = [shown(name, before), shown(name, after)];
  let value = differenceView(isText || before === null ? from : "", to);
  if (before === null) value = element("div", { class: "difference" }, to);
  else if (!isText) value = element("div", { class: "difference" }, element("del", {}, from), " → ", element("ins", {}, to));
  return [element("dt", {}, field_labels[name]), element("dd", {}, value)];
}

function trouble(error, again) {
  if (error instanceof NotFound) return state("clock", "No history", "This service keeps no history of this note.");
  if (error instanceof Forbidden) {
    return state("clock", "Not for this token", "Reading the history needs the scope audit:read.");
  }
  return state("warning", "The history could not be read", error.message, button("Try again", again));
}

customElements.define("note-history", NoteHistory);

/**
 * The notes in memory, as the feed tells them, and the part of them that a person has asked for: sorted, filtered,
 * searched. Only the feed writes here, never an answer to a request: so there is one order of things, and nothing
 * can be there twice.
 */

const byTitle = new Intl.Collator(undefined, { sensitivity: "base", numeric: true });

const latestFirst = (one, other) => other.position - one.position;

/** Orders by name; the first one is the usual one. `remote` is what the service calls it. */
export const orders = {
  latest: { label: "Latest change", remote: "-updated_at", compare: latestFirst },
  priority: { label: "Highest priority", remote: "-priority", compare: (one, other) => other.priority - one.priority },
  title: { label: "Title", remote: "title", compare: (one, other) => byTitle.compare(one.title, other.title) },
  newest: { label: "Newest", remote: "-created_at", compare: (one, other) => compareTimes(other, one) },
  oldest: { label: "Oldest", remote: "created_at", compare: (one, other) => compareTimes(one, other) },
  number: { label: "Number", remote: "id", compare: (one, other) => one.id - other.id },
};

/** All in UTC, so their texts are in order as they stand, but for the Z: it comes after the dot of a fraction. */
function compareTimes(one, other) {
  const [left, right] = [one.created_at.slice(0, -1), other.created_at.slice(0, -1)];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** What is shown when nobody has asked for anything. */
export const everything = Object.freeze({
  order: "latest",
  query: "",
  author: "",
  priorityMin: null,
  priorityMax: null,
});

/**
 * Dispatches `change` once for all that came in before the next picture is drawn, with
 * `detail: {changed: Set of ids, removed: Set of ids, live: whether it happened after the snapshot}`.
 */
export class NoteTable extends EventTarget {
  /** @type {Map<number, object>} */
  #notes = new Map();
  /** @type {Map<number, string>} what a search looks at, made when it is first needed */
  #searched = new Map();
  /** @type {Map<string, number>} notes of each author */
  authors = new Map();
  /** Grows when an author comes or goes. */
  authorsEdition = 0;
  /** The notes that were asked for, in the order that was asked for. */
  view = [];
  choice = everything;
  /** All that was there has arrived. */
  complete = false;
  #changed = new Set();
  #removed = new Set();
  #drawing = false;

  get size() {
    return this.#notes.size;
  }

  get(id) {
    return this.#notes.get(id);
  }

  /** @param {object[]} notes as they are now @param {number[]} removed ids */
  apply(notes, removed = []) {
    for (const note of notes) this.#put(note);
    for (const id of removed) this.#take(id);
    this.#draw();
  }

  /** The snapshot is whole: from now on each change is news. */
  completed() {
    if (this.complete) return;
    this.#flush();
    this.complete = true;
    this.#draw();
  }

  clear() {
    this.#notes.clear();
    this.#searched.clear();
    this.authors.clear();
    this.authorsEdition += 1;
    this.#changed.clear();
    this.#removed.clear();
    this.view = [];
    this.complete = false;
    this.#draw();
  }

  /** Another order, filter or search: `choice` has what differs from what it was. */
  choose(choice) {
    this.choice = { ...this.choice, ...choice };
    const matches = this.#matcher();
    this.view = Array.from(this.#notes.values()).filter(matches).sort(this.#comparer());
    this.#draw();
  }

  #put(note) {
    const known = this.#notes.get(note.id);
    if (known?.created_by !== note.created_by) {
      if (known) this.#countAuthor(known.created_by, -1);
      this.#countAuthor(note.created_by, 1);
    }
    this.#notes.set(note.id, note);
    this.#searched.delete(note.id);
    this.#changed.add(note.id);
    this.#removed.delete(note.id);
  }

  #take(id) {
    const known = this.#notes.get(id);
    if (!known) return;
    this.#countAuthor(known.created_by, -1);
    this.#notes.delete(id);
    this.#searched.delete(id);
    this.#changed.delete(id);
    this.#removed.add(id);
  }

  #countAuthor(name, by) {
    const number = (this.authors.get(name) ?? 0) + by;
    if (number === 0 || !this.authors.has(name)) this.authorsEdition += 1;
    if (number === 0) this.authors.delete(name);
    else this.authors.set(name, number);
  }

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    this.#drawing = false;
    const [changed, removed] = [this.#changed, this.#removed];
    this.#changed = new Set();
    this.#removed = new Set();
    this.#merge(changed, removed);
    this.dispatchEvent(new CustomEvent("change", { detail: { changed, removed, live: this.complete } }));
  }

  /** The view is in order already: what changed is taken out and merged in again, in one pass. */
  #merge(changed, removed) {
    if (changed.size === 0 && removed.size === 0) return;
    const compare = this.#comparer();
    const matches = this.#matcher();
    const kept = this.view.filter((note) => !changed.has(note.id) && !removed.has(note.id));
    const news = Array.from(changed, (id) => this.#notes.get(id)).filter(matches).sort(compare);
    this.view = merged(kept, news, compare);
  }

  #comparer() {
    const { compare } = orders[this.choice.order];
    return (one, other) => compare(one, other) || latestFirst(one, other);
  }

  #matcher() {
    const { query, author, priorityMin, priorityMax } = this.choice;
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    return (note) =>
      (author === "" || note.created_by === author) &&
      (priorityMin === null || note.priority >= priorityMin) &&
      (priorityMax === null || note.priority <= priorityMax) &&
      (words.length === 0 || this.#has(note, words));
  }

  #has(note, words) {
    let text = this.#searched.get(note.id);
    if (text === undefined) {
      text = `#${note.id}\n${note.title}\n${note.description}\n${note.created_by}`.toLowerCase();
      this.#searched.set(note.id, text);
    }
    return words.every((word) => text.includes(word));
  }
}

function merged(one, other, compare) {
  if (other.length === 0) return one;
  const out = [];
  let next = 0;
  for (const note of one) {
    while (next < other.length && compare(other[next], note) < 0) out.push(other[next++]);
    out.push(note);
  }
  while (next < other.length) out.push(other[next++]);
  return out;
}

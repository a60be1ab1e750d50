/**
 * What a person has typed and not saved. Kept in memory, and in the tab's session storage so that a reload keeps it
 * too; a token never comes near it.
 *
 * A draft: `{fields, base, epoch, pending}`. `fields`: what stands in the form. `base`: the note that the person began
 * from, null for a new one. `epoch`: the log that `base` belongs to. `pending`: the change that was sent and has no
 * answer yet, with its key, so that it can be sent again and is made once: `{key, id, fields, version}`.
 */
export class Drafts extends EventTarget {
  /** @type {Map<string, object>} */
  #drafts = new Map();
  #prefix;

  /** @param {string} place drafts of different services are kept apart */
  constructor(place) {
    super();
    this.#prefix = `notelog draft ${place} `;
    for (const name of this.#stored()) this.#read(name);
  }

  get size() {
    return this.#drafts.size;
  }

  /** @param {number|null} id null: the note that is not there yet */
  get(id) {
    return this.#drafts.get(String(id));
  }

  has(id) {
    return this.#drafts.has(String(id));
  }

  set(id, draft) {
    const isNew = !this.has(id);
    this.#drafts.set(String(id), draft);
    this.#write(String(id), JSON.stringify(draft));
    if (isNew) this.dispatchEvent(new Event("change"));
  }

  delete(id) {
    if (!this.#drafts.delete(String(id))) return;
    this.#write(String(id), null);
    this.dispatchEvent(new Event("change"));
  }

  #stored() {
    try {
      return Object.keys(sessionStorage).filter((name) => name.startsWith(this.#prefix));
    } catch {
      return []; // A browser may forbid storage: then memory alone has to do.
    }
  }

  #read(name) {
    try {
      this.#drafts.set(name.slice(this.#prefix.length), JSON.parse(sessionStorage.getItem(name)));
    } catch {
      sessionStorage.removeItem(name); // Not written by us, or cut off: there is no draft in it.
    }
  }

  #write(id, text) {
    try {
      if (text === null) sessionStorage.removeItem(this.#prefix + id);
      else sessionStorage.setItem(this.#prefix + id, text);
    } catch {
      // Full or forbidden: the draft is still in memory.
    }
  }
}

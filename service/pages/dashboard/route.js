/**
 * Which note is open stands in the address, after the #: `#note/12`, `#note/12/history`, `#new`. So a link leads to a
 * note, and the back button of a phone closes it.
 *
 * Dispatches `change`; `where` is `{id, tab}`, or null when no note is open.
 */
export class Route extends EventTarget {
  constructor() {
    super();
    globalThis.addEventListener("popstate", () => this.#tell());
    globalThis.addEventListener("hashchange", () => this.#tell());
  }

  /** @returns {{id: number|null, tab: "note"|"history"}|null} */
  get where() {
    if (location.hash === "#new") return { id: null, tab: "note" };
    const found = /^#note\/(\d{1,15})(\/history)?$/.exec(location.hash);
    return found ? { id: Number(found[1]), tab: found[2] ? "history" : "note" } : null;
  }

  /** @param {number|null} id null: a new note */
  open(id, tab = "note") {
    const hash = id === null ? "#new" : `#note/${id}${tab === "history" ? "/history" : ""}`;
    if (hash === location.hash) return;
    if (this.where) history.replaceState(history.state, "", hash);
    else history.pushState({ opened: true }, "", hash);
    this.#tell();
  }

  /** Goes back to where the note was opened from; a page that began with it has no such place. */
  close() {
    if (!this.where) return;
    if (history.state?.opened) return history.back();
    history.replaceState(null, "", location.pathname + location.search);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

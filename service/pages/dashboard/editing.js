/**
 * Changes of notes on their way from a person's hands to the log. No typing is lost on it: a draft is given up only
 * when the service has said that all of it is recorded, or when the person discards it.
 *
 * A change that got no answer stays in the draft as `pending`, with its key; it is sent again, the same to the byte,
 * before anything newer is. So a note is not made twice, and an edit not taken for somebody else's.
 */
import { Busy, newKey, NotFound, Unauthorized, Unreachable, VersionConflict } from "./notelog.js";
import { field_names } from "./words.js";

const empty = Object.freeze({ title: "", description: "", priority: "0", created_by: "", created_at: "" });

/** A note's fields as texts, as they stand in a form. */
export function textsOf(note) {
  if (!note) return { ...empty };
  return Object.fromEntries(field_names.map((name) => [name, String(note[name])]));
}

/** What differs between a form and the note it began from, as the service wants it. */
export function changesOf({ fields, base }) {
  const before = textsOf(base);
  const names = field_names.filter((name) => fields[name] !== before[name]);
  return Object.fromEntries(names.map((name) => [name, valueOf(name, fields[name])]));
}

function valueOf(name, text) {
  if (name !== "priority") return text;
  return /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : text;
}

/** The answer cannot be told from silence: the change may or may not be recorded. */
export function isUnsettled(error) {
  return error instanceof Unreachable || error instanceof Busy || error instanceof Unauthorized;
}

/**
 * Dispatches `change` with `{id}` when a draft's way has changed (busy, failed, in conflict, saved), and `saved` with
 * `{id, note}`.
 */
export class Editing extends EventTarget {
  #notelog;
  #drafts;
  #epoch;
  #busy = new Set();
  #errors = new Map();

  /** @param {() => string|null} epoch which log the page shows */
  constructor(notelog, drafts, epoch) {
    super();
    this.#notelog = notelog;
    this.#drafts = drafts;
    this.#epoch = epoch;
  }

  draft(id) {
    return this.#drafts.get(id);
  }

  isBusy(id) {
    return this.#busy.has(id);
  }

  error(id) {
    return this.#errors.get(id) ?? null;
  }

  /** A key was pressed in a field. @param {object|null} note what the form showed before */
  type(id, note, name, text) {
    const draft = this.draft(id) ?? { fields: textsOf(note), base: note, epoch: this.#epoch(), pending: null };
    this.#keep(id, { ...draft, fields: { ...draft.fields, [name]: text } });
  }

  discard(id) {
    this.#drafts.delete(id);
    this.#errors.delete(id);
    this.#tell(id);
  }

  /** Somebody else's version is laid beside the draft, for the person to choose. */
  compare(id, theirs) {
    this.#keep(id, { ...this.draft(id), conflict: theirs });
    this.#errors.delete(id);
    this.#tell(id);
  }

  /** The person has chosen: `fields` is what it shall be, on top of `theirs`. */
  resolve(id, fields, theirs) {
    this.#keep(id, this.#onTopOf(theirs, fields));
    this.#tell(id);
  }

  /** What was an edit of a note becomes a note of its own. */
  asNew(id) {
    const { fields } = this.draft(id);
    this.#keep(id, { fields, base: null, epoch: this.#epoch(), pending: null });
    this.#tell(id);
  }

  /** Sends what was typed. Does not throw: how it went stands in `error(id)` and in the draft. */
  async save(id) {
    await this.#onlyOnce(id, async () => {
      if (await this.#isOfAnotherLog(id)) return;
      await this.#settle(id);
      await this.#sendChanges(id);
    });
  }

  /** Sends again what has had no answer, and nothing else. */
  async settle(id) {
    const draft = this.draft(id);
    const isOfThisLog = draft?.epoch === this.#epoch() || !draft?.base;
    if (draft?.pending && isOfThisLog) await this.#onlyOnce(id, () => this.#settle(id));
  }

  async #onlyOnce(id, work) {
    if (!this.draft(id) || this.isBusy(id)) return;
    this.#busy.add(id);
    this.#errors.delete(id);
    this.#tell(id);
    try {
      await work();
    } catch (error) {
      this.#failed(id, error);
    } finally {
      this.#busy.delete(id);
      this.#tell(id);
    }
  }

  #failed(id, error) {
    const draft = this.draft(id);
    if (draft?.pending && !isUnsettled(error)) this.#keep(id, { ...draft, pending: null });
    if (error instanceof VersionConflict && error.note) this.compare(id, error.note);
    else this.#errors.set(id, error);
  }

  async #sendChanges(id) {
    const draft = this.draft(id);
    if (!draft) return;
    const fields = changesOf(draft);
    if (draft.base && Object.keys(fields).length === 0) return this.discard(id);
    if (!draft.base && fields.title === undefined) fields.title = "";
    const pending = { key: newKey(), id: draft.base?.id ?? null, fields, version: draft.base?.version };
    this.#keep(id, { ...draft, pending, sent: draft.fields });
    await this.#settle(id);
  }

  async #settle(id) {
    const pending = this.draft(id)?.pending;
    if (pending) this.#saved(id, await this.#send(pending));
  }

  #send({ key, id, fields, version }) {
    return id === null ? this.#notelog.create(fields, { key }) : this.#notelog.edit(id, fields, { key, version });
  }

  /** What was typed while the answer was on its way stays a draft, now on top of the note that was saved. */
  #saved(id, note) {
    const { fields = {}, sent = {} } = this.draft(id) ?? {};
    const typed = field_names.filter((name) => fields[name] !== sent[name]);
    const typedTexts = Object.fromEntries(typed.map((name) => [name, fields[name]]));
    this.#drafts.delete(id);
    if (typed.length) this.#keep(note.id, this.#onTopOf(note, typedTexts));
    this.dispatchEvent(new CustomEvent("saved", { detail: { id, note } }));
  }

  /** A draft from before the log was replaced says nothing about the note of that number in the new one. */
  async #isOfAnotherLog(id) {
    const draft = this.draft(id);
    if (!draft?.base || draft.epoch === this.#epoch() || this.#epoch() === null) return false;
    const note = await this.#notelog.note(id);
    this.#keep(id, { ...draft, epoch: this.#epoch(), conflict: note });
    return true;
  }

  /** The note was deleted meanwhile: it is brought back, and what was typed is saved on top of it. */
  async restoreAndSave(id) {
    const { fields, base } = this.draft(id);
    const typed = field_names.filter((name) => fields[name] !== textsOf(base)[name]);
    const typedTexts = Object.fromEntries(typed.map((name) => [name, fields[name]]));
    await this.#onlyOnce(id, async () => {
      const note = await this.#notelog.restore(id);
      this.resolve(id, typedTexts, note);
      await this.#sendChanges(id);
    });
  }

  #onTopOf(note, texts) {
    return { fields: { ...textsOf(note), ...texts }, base: note, epoch: this.#epoch(), pending: null };
  }

  #keep(id, draft) {
    const unchanged = draft.base && !draft.pending && Object.keys(changesOf(draft)).length === 0;
    if (unchanged) this.#drafts.delete(id);
    else this.#drafts.set(id, draft);
  }

  #tell(id) {
    this.dispatchEvent(new CustomEvent("change", { detail: { id } }));
  }
}

/** The note of this draft is not there any more. */
export function isGone(error) {
  return error instanceof NotFound;
}

/**
 * notelog.js: the client of a notelog service for browsers. One module, nothing else needed.
 *
 *   import { Notelog, VersionConflict } from "./notelog.js";
 *
 *   const notelog = new Notelog({ url: "https://notes.example/", token });
 *   const note = await notelog.create({ title: "Buy paper" });
 *   try {
 *     await notelog.edit(note.id, { priority: 2 }, { version: note.version });
 *   } catch (error) {
 *     if (error instanceof VersionConflict) console.log("meanwhile it became", error.note);
 *     else throw error;
 *   }
 *
 *   const live = notelog.connect();
 *   live.subscribe("notes", { after: 0 }, {
 *     notes: ({ notes, removed }) => picture.apply(notes, removed),
 *     reset: () => picture.clear(),
 *   });
 *
 * Two promises:
 *
 * - A change is made once. Every change carries an Idempotency-Key, so that it is safe to send it again after a lost
 *   answer, and it is sent again by itself for `retry_total_ms`. Keep `key` yourself to go on after that.
 * - A subscription has no hole and no repeat. It remembers (position, epoch) and resumes there after every break,
 *   with waits that grow and are random, so that ten thousand pages do not all come back in the same moment.
 *
 * Errors: every one is a NotelogError.
 *
 *   NotelogError
 *   ├── Unreachable             no answer: no network, no service, or no time left
 *   └── Problem                 the service refused; has `status`, `title`, `detail`, `type`
 *       ├── Invalid             400, 413, 415, 422: what was sent is wrong; `errors` says where
 *       ├── Unauthorized        401: a token is needed, or a new one
 *       ├── Forbidden           403: the token's scopes do not allow it
 *       ├── NotFound            404: no such note; `deletedAt` where there was one
 *       ├── VersionConflict     412: the note is not at the version that was expected; `note` is what it is now
 *       └── Busy                409, 429, 502, 503, 504: come back; `retryAfter_ms` where the service said when
 *           └── OutcomeUnknown  503: the change may have been recorded: send it again with the same key
 */

/** Longest wait for one answer. A read may wait 5 s in the service for its table; a slow network gets as much again. */
const answer_timeout_ms = 15_000;
/** How long a request is sent again before its error is handed on. */
const retry_total_ms = 30_000;
/** First and longest wait between two tries of a request; the wait is random between 0 and a bound that doubles. */
const retry_first_ms = 250;
const retry_longest_ms = 8_000;
/** The same for the websocket. */
const reconnect_first_ms = 500;
const reconnect_longest_ms = 30_000;
/** A connection that lasted this long was a good one: the next break starts with short waits again. */
const stable_after_ms = 10_000;
/** Where too many are connected, the first wait is already a long one: as after this many failures. */
const failures_of_a_full_service = 4;
/** How long the service has to answer on a websocket that has been silent. */
const probe_timeout_ms = 10_000;
/** How long a connection may take to its hello; the service itself waits 10 s for a token. */
const hello_timeout_ms = 20_000;
/** How often silence is looked for. */
const watch_every_ms = 1_000;

const sub_protocol = "notelog.v1";

export class NotelogError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

export class Unreachable extends NotelogError {}

export class Problem extends NotelogError {
  /** @param {number} status @param {object} body the problem, RFC 9457 @param {number|null} retryAfter_ms */
  constructor(status, body = {}, retryAfter_ms = null) {
    super(body.detail || body.title || `the service answered ${status}`);
    this.status = status;
    this.type = body.type ?? "about:blank";
    this.title = body.title ?? "";
    this.detail = body.detail ?? "";
    this.body = body;
    this.retryAfter_ms = retryAfter_ms;
  }
}

export class Invalid extends Problem {
  /** @returns {{pointer: string, detail: string}[]} all the mistakes of the body */
  get errors() {
    return this.body.errors ?? [];
  }
}

export class Unauthorized extends Problem {}
export class Forbidden extends Problem {}

export class NotFound extends Problem {
  /** @returns {string|null} when the note was deleted, where there was one */
  get deletedAt() {
    return this.body.deleted_at ?? null;
  }
}

export class VersionConflict extends Problem {
  /** @returns {object} the note as it is now */
  get note() {
    return this.body.note;
  }
}

export class Busy extends Problem {}
export class OutcomeUnknown extends Busy {}

const problem_of_status = {
  400: Invalid, 413: Invalid, 415: Invalid, 422: Invalid, 401: Unauthorized, 403: Forbidden, 404: NotFound,
  409: Busy, 412: VersionConflict, 429: Busy, 502: Busy, 503: Busy, 504: Busy,
};

/** A key for one change. Not `crypto.randomUUID`: browsers have that on secure origins only. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A random wait between 0 and a bound that doubles with each attempt ("full jitter"). */
function backOff_ms(attempt, first_ms, longest_ms) {
  return Math.random() * Math.min(longest_ms, first_ms * 2 ** attempt);
}

/** Resolves after a time; rejects with the signal's reason if that comes first. */
function pause(wait_ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, wait_ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/**
 * A notelog service, seen from here.
 *
 * Dispatches `token-needed` when a request or the websocket was refused for want of a good token.
 */
export class Notelog extends EventTarget {
  #token;

  /**
   * @param {object} [options]
   * @param {string} [options.url] where the service is, with its slash at the end; default: one folder above this file
   * @param {string|null} [options.token] bearer token; it is kept here and nowhere else
   */
  constructor({ url, token = null } = {}) {
    super();
    this.url = new URL(url ?? "..", url ? globalThis.location?.href : import.meta.url);
    this.#token = token;
    /** What the service's clock is ahead of ours, as far as its answers tell (whole seconds). */
    this.clockAhead_ms = 0;
  }

  get token() {
    return this.#token;
  }

  /** A new token, for all requests from now on; a live connection renews itself with it. */
  set token(token) {
    this.#token = token;
    this.dispatchEvent(new Event("token"));
  }

  /** The service's time, as well as it is known here. */
  now() {
    return Date.now() + this.clockAhead_ms;
  }

  // Notes. `version`: the version that the change was made from; where the note is at another one: VersionConflict.

  /** One page of notes: `{notes, next}`; `query`: limit, sort, created_by, priority, q, as_of, … */
  list(query = {}, options = {}) {
    return this.#read("notes", { ...options, query });
  }

  /** Every page of a list, one after the other, for `for await`. */
  async *pages(path, query = {}, options = {}) {
    let page = await this.#read(path, { ...options, query });
    yield page;
    while (page.next) {
      page = await this.#read(page.next.replace(/^\//, ""), options);
      yield page;
    }
  }

  /** One note; `query`: `version` or `as_of` for what it was. */
  note(id, query = {}, options = {}) {
    return this.#read(`notes/${id}`, { ...options, query });
  }

  create(fields, { key } = {}) {
    return this.#write("POST", "notes", { body: fields, key });
  }

  /** Changes the named fields alone. */
  edit(id, fields, { version, key } = {}) {
    return this.#write("PATCH", `notes/${id}`, { body: fields, version, key });
  }

  replace(id, fields, { version, key } = {}) {
    return this.#write("PUT", `notes/${id}`, { body: fields, version, key });
  }

  delete(id, { version, key } = {}) {
    return this.#write("DELETE", `notes/${id}`, { version, key });
  }

  /** Brings a deleted note back. */
  restore(id, { version, key } = {}) {
    return this.#write("POST", `notes/${id}/restore`, { version, key });
  }

  /** Makes the note what it was at an older version, as a new event. */
  revert(id, toVersion, { version, key } = {}) {
    return this.#write("POST", `notes/${id}/revert`, { body: { version: toVersion }, version, key });
  }

  history(id, query = {}, options = {}) {
    return this.#read(`notes/${id}/history`, { ...options, query });
  }

  /** One page of events: `{events, next, head}`; `query`: after or before, limit, note_id, type. */
  events(query = {}, options = {}) {
    return this.#read("events", { ...options, query });
  }

  event(position, options = {}) {
    return this.#read(`events/${position}`, options);
  }

  /** Opens a live connection; `close()` ends it. */
  connect() {
    return new Live(this);
  }

  #read(path, { query = {}, signal } = {}) {
    return this.#untilAnswered(() => this.#once("GET", path, { query, signal }), signal);
  }

  #write(method, path, { body, version, key = newKey() }) {
    const headers = { "Idempotency-Key": key };
    if (version !== undefined) headers["If-Match"] = `"${version}"`;
    return this.#untilAnswered(() => this.#once(method, path, { body, headers }));
  }

  /** Sends again what may be sent again, until `retry_total_ms` have passed. A caller's abort ends it at once. */
  async #untilAnswered(send, signal) {
    const deadline = Date.now() + retry_total_ms;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await send();
      } catch (error) {
        if (error instanceof Unauthorized) this.dispatchEvent(new Event("token-needed"));
        if (!(error instanceof Unreachable || error instanceof Busy)) throw error;
        const wait_ms = error.retryAfter_ms ?? backOff_ms(attempt, retry_first_ms, retry_longest_ms);
        if (Date.now() + wait_ms > deadline) throw error;
        await pause(wait_ms, signal);
      }
    }
  }

  async #once(method, path, { query = {}, body, headers = {}, signal } = {}) {
    const url = new URL(path, this.url);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
    }
    const request = { method, headers: { ...headers }, cache: "no-store", credentials: "omit" };
    if (this.#token) request.headers.Authorization = `Bearer ${this.#token}`;
    if (body !== undefined) {
      request.headers["Content-Type"] = method === "PATCH" ? "application/merge-patch+json" : "application/json";
      request.body = JSON.stringify(body);
    }
    const answer = await this.#fetch(url, request, signal);
    if (!answer.ok) throw problemOf(answer);
    return answer.body;
  }

  /** The whole answer, body and all, within `answer_timeout_ms`; else Unreachable. */
  async #fetch(url, request, signal) {
    const limit = new AbortController();
    const stop = () => limit.abort(signal.reason);
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    const timer = setTimeout(() => limit.abort(), answer_timeout_ms);
    try {
      const response = await fetch(url, { ...request, signal: limit.signal });
      this.#compareClocks(response.headers.get("Date"));
      const body = await bodyOf(response);
      return { ok: response.ok, status: response.status, headers: response.headers, body };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new Unreachable("the service cannot be reached", { cause: error });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }

  /** The header has whole seconds: half a second is its mean error, and less than two are not worth a correction. */
  #compareClocks(date) {
    const ahead_ms = date ? Date.parse(date) + 500 - Date.now() : NaN;
    if (!Number.isNaN(ahead_ms)) this.clockAhead_ms = Math.abs(ahead_ms) < 2_000 ? 0 : ahead_ms;
  }
}

async function bodyOf(response) {
  const text = await response.text();
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return { detail: "" }; // A proxy's page: its status tells what is to be told.
  }
}

function problemOf({ status, headers, body }) {
  const unknown = status === 503 && String(body?.type).endsWith("/problems/outcome-unknown");
  const kind = unknown ? OutcomeUnknown : problem_of_status[status] ?? Problem;
  const seconds = Number(headers.get("Retry-After") ?? NaN);
  return new kind(status, body ?? {}, Number.isFinite(seconds) ? seconds * 1_000 : null);
}

/**
 * One websocket that comes back by itself, and the subscriptions that it carries (up to 16).
 *
 * `state` is one of
 *   connecting    on the way
 *   open          the service has said hello
 *   waiting       broken; the next try is at `nextTry_at` (ms since 1970)
 *   unauthorized  a token is needed: set `notelog.token`
 *   refused       the service does not want this client, and says so for good
 *   closed        by us
 * and each change of it dispatches `state`. `head` is the last position known to be in the log; `epoch` says which log.
 * Each change of the two dispatches `head`.
 */
export class Live extends EventTarget {
  state = "connecting";
  /** @type {number|null} */
  nextTry_at = null;
  /** @type {string|null} */
  epoch = null;
  head = 0;
  /** Why the last connection ended: `{code, reason}`, or null. */
  lastClose = null;
  /** Connections in a row that ended before the service said hello. */
  failures = 0;
  #notelog;
  /** @type {WebSocket|null} */
  #socket = null;
  /** @type {Map<string, Subscription>} */
  #subscriptions = new Map();
  #count = 0;
  #timer = null;
  #opened_at = 0;
  #heard_at = 0;
  /** @type {number|null} when a probe was sent that has no answer yet */
  #probed_at = null;
  #heartbeat_ms = 25_000;
  #ended = new AbortController();

  constructor(notelog) {
    super();
    this.#notelog = notelog;
    const { signal } = this.#ended;
    notelog.addEventListener("token", () => this.#tokenChanged(), { signal });
    globalThis.addEventListener?.("online", () => this.retryNow(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => this.#look(), { signal });
    const watch = setInterval(() => this.#look(), watch_every_ms);
    signal.addEventListener("abort", () => clearInterval(watch));
    this.#connect();
  }

  /**
   * Follows a feed, from now until `close()` of what is returned, over all breaks.
   *
   * @param {"notes"|"events"} feed
   * @param {object} options
   * @param {number} [options.after] 0: from the beginning; left out: only what is new
   * @param {string} [options.epoch] the epoch that `after` belongs to
   * @param {object} [options.where] the feed's filter
   * @param {object} handlers each is optional
   * @param {(frame: {notes: object[], removed: number[], position: number}) => void} [handlers.notes]
   * @param {(frame: {events: object[], position: number}) => void} [handlers.events]
   * @param {(position: number) => void} [handlers.caughtUp] all that was there has been handed over
   * @param {(reason: string) => void} [handlers.reset] what was handed over belongs to another log: forget it.
   *   Afterwards the subscription goes on from 0, unless the handler closed it.
   * @param {(error: {code: string, message: string}) => void} [handlers.refused] there will be no such subscription
   */
  subscribe(feed, { after, epoch, where } = {}, handlers = {}) {
    const id = `${feed}-${(this.#count += 1)}`;
    const subscription = new Subscription(id, feed, where, handlers, () => this.#unsubscribe(id));
    subscription.position = after ?? null;
    subscription.epoch = epoch ?? null;
    this.#subscriptions.set(id, subscription);
    if (this.state === "open") this.#ask(subscription);
    return subscription;
  }

  /** Connects now instead of at `nextTry_at`; with nothing to do, does nothing. */
  retryNow() {
    if (this.state === "waiting") this.#connect();
    else this.#look(true);
  }

  /** Ends the connection and all subscriptions; nothing is handed over after it. */
  close() {
    this.#ended.abort();
    clearTimeout(this.#timer);
    this.#subscriptions.clear();
    this.#drop();
    this.#become("closed");
  }

  #become(state) {
    this.state = state;
    if (state !== "waiting") this.nextTry_at = null;
    this.dispatchEvent(new Event("state"));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#drop();
    const url = new URL("ws", this.#notelog.url);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, sub_protocol);
    this.#socket = socket;
    this.#heard_at = Date.now();
    socket.onopen = () => this.#authenticate();
    socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#become("connecting");
  }

  /** Forgets the socket: whatever it still has to say is not heard. */
  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#probed_at = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #authenticate() {
    if (this.#notelog.token) this.#send({ type: "auth", token: this.#notelog.token });
  }

  #tokenChanged() {
    if (this.state === "open" || this.state === "connecting") this.#authenticate();
    else if (this.state !== "closed") this.#connect();
  }

  #closed(code, reason) {
    this.#socket = null;
    this.#probed_at = null;
    this.lastClose = { code, reason };
    const wasOpen = this.state === "open";
    this.failures = wasOpen && Date.now() - this.#opened_at > stable_after_ms ? 0 : this.failures + 1;
    if (code === 4429) this.failures = Math.max(this.failures, failures_of_a_full_service);
    if (code === 4401 || (code === 4408 && !this.#notelog.token)) this.#needToken();
    else if (code === 4400 || code === 4403) this.#become("refused");
    else this.#later();
  }

  #needToken() {
    this.#become("unauthorized");
    this.#notelog.dispatchEvent(new Event("token-needed"));
  }

  #later() {
    const wait_ms = backOff_ms(this.failures, reconnect_first_ms, reconnect_longest_ms);
    this.nextTry_at = Date.now() + wait_ms;
    this.#timer = setTimeout(() => this.#connect(), wait_ms);
    this.#become("waiting");
  }

  /**
   * A connection can be dead without either side being told, and a page cannot send pings. So when nothing was heard
   * for as long as the service's own heartbeat, a short subscription asks for the head; no answer means dead.
   */
  #look(now = false) {
    const silent_ms = Date.now() - this.#heard_at;
    if (this.state === "connecting" && silent_ms > hello_timeout_ms) this.#giveUp();
    if (this.state !== "open") return;
    if (this.#probed_at === null) {
      if (now || silent_ms > this.#heartbeat_ms) this.#ping();
    } else if (Date.now() - Math.max(this.#probed_at, this.#heard_at) > probe_timeout_ms) this.#giveUp();
  }

  #ping() {
    this.#probed_at = Date.now();
    this.#send({ type: "subscribe", id: "probe", feed: "notes" });
  }

  #giveUp() {
    this.#drop();
    this.#closed(1006, "no answer");
  }

  #ask(subscription) {
    const { id, feed, where, position, epoch } = subscription;
    const message = { type: "subscribe", id, feed };
    if (position !== null) message.after = position;
    if (epoch !== null) message.epoch = epoch;
    if (where) message.where = where;
    this.#send(message);
  }

  #unsubscribe(id) {
    if (this.#subscriptions.delete(id)) this.#send({ type: "unsubscribe", id });
  }

  #received(message) {
    this.#heard_at = Date.now();
    if (message.type === "hello") return this.#hello(message);
    if (message.id === "probe") return this.#probed(message);
    const subscription = this.#subscriptions.get(message.id);
    if (!subscription) return;
    if (message.type === "error") this.#failed(subscription, message);
    else if (message.type === "reset") this.#reset(subscription, message);
    else {
      this.#headIs(message.head ?? message.position);
      subscription.received(message);
    }
  }

  #hello({ epoch, head, heartbeat_s }) {
    this.#opened_at = Date.now();
    this.#heartbeat_ms = (heartbeat_s ?? 25) * 1_000;
    this.head = epoch === this.epoch ? Math.max(head, this.head) : head;
    this.epoch = epoch;
    this.#become("open");
    this.dispatchEvent(new Event("head"));
    for (const subscription of this.#subscriptions.values()) this.#ask(subscription);
  }

  #probed({ type, head }) {
    if (type === "subscribed") {
      this.#probed_at = null;
      this.#headIs(head);
      this.#send({ type: "unsubscribe", id: "probe" });
    } else if (type === "error") {
      this.#probed_at = null; // An answer is an answer.
    }
  }

  #headIs(position) {
    if (!(position > this.head)) return;
    this.head = position;
    this.dispatchEvent(new Event("head"));
  }

  /** The log is another one, or lost its end: whatever stood on the old one is forgotten, and it begins again. */
  #reset(subscription, { reason, epoch, head }) {
    this.epoch = epoch;
    this.head = head;
    this.dispatchEvent(new Event("head"));
    subscription.position = 0;
    subscription.epoch = epoch;
    subscription.caughtUp = false;
    subscription.handlers.reset?.(reason);
    if (this.#subscriptions.has(subscription.id)) this.#ask(subscription);
  }

  #failed(subscription, { code, message }) {
    if (code === "not_yet" || code === "rate_limited") return this.#askLater(subscription);
    this.#subscriptions.delete(subscription.id);
    subscription.handlers.refused?.({ code, message });
  }

  /** This node is behind what we have seen, or has heard too much from us: it said to come back. */
  #askLater(subscription) {
    const socket = this.#socket;
    setTimeout(() => {
      const same = socket === this.#socket && this.#subscriptions.has(subscription.id);
      if (same && this.state === "open") this.#ask(subscription);
    }, backOff_ms(1, 1_000, reconnect_longest_ms));
  }
}

/** A feed that is followed. `position` and `epoch` are where it would resume. */
export class Subscription {
  /** @type {number|null} */
  position = null;
  /** @type {string|null} */
  epoch = null;
  /** All that was there has been handed over; false again from a break until the next time. */
  caughtUp = false;
  #close;

  constructor(id, feed, where, handlers, close) {
    this.id = id;
    this.feed = feed;
    this.where = where;
    this.handlers = handlers;
    this.#close = close;
  }

  /** Ends the subscription: nothing is handed over after it. */
  close() {
    this.handlers = {};
    this.#close();
  }

  /** The handler first, then the position: a handler that throws gets the frame again after the next break. */
  received(message) {
    if (message.type === "subscribed") {
      this.position ??= message.after;
      this.epoch = message.epoch;
      this.caughtUp = false;
      return;
    }
    if (message.type === "notes" || message.type === "events") this.handlers[message.type]?.(message);
    if (message.position !== undefined) this.position = message.position;
    if (message.type === "caught_up") {
      this.caughtUp = true;
      this.handlers.caughtUp?.(message.position);
    }
  }
}

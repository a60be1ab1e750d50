/**
 * Whether the page is connected: a word at the head of the page, and a line below it when something is wrong that
 * a person should know.
 */
import { button, element, icon, say } from "./dom.js";
import { count, timeOfDay } from "./words.js";

/** A break shorter than this is not worth a line. */
const banner_after_ms = 1_200;
const tick_ms = 500;
/** After so many failures in a row, with the service there for requests, websockets do not get through. */
const failures_to_explain = 3;

export class ConnectionStatus extends HTMLElement {
  #live = null;
  #notes = null;
  #notices = null;
  #askForToken = null;
  #brokenSince_ms = null;
  #wasConnected = false;
  #heard_at = null;
  #word = element("span", { class: "status-word" });
  #banner = element("section", { class: "connection-banner", "aria-label": "Connection", hidden: true });
  #sentence = element("p");
  #retry = button("Try now", () => this.#act());

  connectedCallback() {
    if (this.firstChild) return;
    this.append(element("span", { class: "dot", "aria-hidden": "true" }), this.#word);
    this.#banner.append(icon("warning"), this.#sentence, this.#retry);
  }

  /** @param {Element} place where the line stands @param {() => void} askForToken */
  configure({ live, notes, notices, place, askForToken }) {
    [this.#live, this.#notes, this.#notices, this.#askForToken] = [live, notes, notices, askForToken];
    place.append(this.#banner);
    live.addEventListener("state", () => this.#changed());
    live.addEventListener("head", () => this.show());
    setInterval(() => this.show(), tick_ms);
    this.#changed();
  }

  #changed() {
    const isOpen = this.#live.state === "open";
    if (isOpen && this.#brokenSince_ms !== null && this.#wasConnected) this.#notices.announce("Connected again.");
    if (isOpen) {
      this.#brokenSince_ms = null;
      this.#wasConnected = true;
    } else this.#brokenSince_ms ??= Date.now();
    this.show();
  }

  show() {
    const { state } = this.#live;
    const kind = state === "open" ? (this.#isBehind() ? "behind" : "live") : state;
    if (state === "open") this.#heard_at = Date.now();
    this.dataset.state = kind;
    say(this.#word, this.#words(kind));
    this.#showBanner(state);
  }

  #isBehind() {
    return !this.#notes.caughtUp;
  }

  #words(kind) {
    const behind = count(Math.max(0, this.#live.head - (this.#notes.position ?? 0)));
    const words = {
      live: "Live",
      behind: `Catching up: ${behind} to go`,
      connecting: "Connecting…",
      waiting: "Offline",
      unauthorized: "Token needed",
      refused: "Refused",
      closed: "Closed",
    };
    return words[kind];
  }

  #showBanner(state) {
    const isLong = this.#brokenSince_ms !== null && Date.now() - this.#brokenSince_ms > banner_after_ms;
    const isWrong = state === "unauthorized" || state === "refused" || isLong;
    if (isWrong && this.#banner.hidden) this.#notices.announce(this.#reason(state));
    this.#banner.hidden = !isWrong;
    if (!isWrong) return;
    say(this.#sentence, `${this.#reason(state)} ${this.#outlook(state)}`);
    say(this.#retry.lastElementChild, state === "unauthorized" ? "Give a token" : "Try now");
    this.#retry.hidden = state === "refused" || state === "connecting";
  }

  #reason(state) {
    if (state === "unauthorized") return "This service asks for a token.";
    if (state === "refused") return "The service refuses this page's connection; loading the page anew may help.";
    if (!this.#wasConnected) return "The service cannot be reached.";
    return "Connection lost.";
  }

  #outlook(state) {
    if (state === "unauthorized" || state === "refused") return "";
    const since = this.#heard_at ? `You see the notes as they were at ${timeOfDay(this.#heard_at)}; what you type is kept.` : "";
    const hint = this.#live.failures >= failures_to_explain && !this.#wasConnected ? "Does a proxy stop websockets?" : "";
    return [since, hint, this.#next(state)].filter(Boolean).join(" ");
  }

  #next(state) {
    if (state === "connecting" || this.#live.nextTry_at === null) return "Trying…";
    const seconds = Math.ceil((this.#live.nextTry_at - Date.now()) / 1_000);
    return seconds > 0 ? `Next try in ${seconds} s.` : "Trying…";
  }

  #act() {
    if (this.#live.state === "unauthorized") this.#askForToken();
    else this.#live.retryNow();
  }
}

customElements.define("connection-status", ConnectionStatus);

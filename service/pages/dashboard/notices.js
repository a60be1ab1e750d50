/**
 * What the page says by itself: to the eye as a card at the edge, to a screen reader politely, and not too often.
 */
import { element, iconButton, say } from "./dom.js";

/** A card without anything to do stays this long; one with a button stays longer, and as long as it is looked at. */
const card_shown_ms = 5_000;
const card_with_action_shown_ms = 12_000;
/** Changes of notes are told together, at most once in this time. */
const news_pause_ms = 8_000;
const cards_max = 3;

export class NoticeBoard extends HTMLElement {
  #voice = element("div", { class: "unseen", role: "status", "aria-live": "polite", "aria-atomic": "true" });
  #cards = element("section", { class: "notices", "aria-label": "Notices" });
  /** The card with something to do that came last: `{card, action}`. */
  #latest = null;
  #news = new Set();
  #newsTimer = null;

  connectedCallback() {
    this.append(this.#voice, this.#cards);
  }

  /** Says it to a screen reader. */
  announce(text) {
    say(this.#voice, this.#voice.textContent === text ? `${text} ` : text);
  }

  /** Tells that notes have changed: all of the next seconds in one sentence. */
  announceNews(ids, sentence) {
    for (const id of ids) this.#news.add(id);
    if (this.#newsTimer || this.#news.size === 0) return;
    this.#newsTimer = setTimeout(() => {
      this.#newsTimer = null;
      this.announce(sentence(this.#news.size));
      this.#news.clear();
    }, news_pause_ms);
  }

  /** @param {{label: string, run: () => void}} [action] something to do about it, also by `runAction()` */
  show(text, { kind = "plain", action = null } = {}) {
    const card = element("div", { class: `notice ${kind}` }, element("p", {}, text));
    const remove = () => this.#remove(card);
    if (action) card.append(this.#actionButton(action, remove));
    card.append(iconButton("close", "Dismiss", remove));
    if (action) this.#latest = { card, action };
    this.#cards.append(card);
    while (this.#cards.children.length > cards_max) this.#remove(this.#cards.firstElementChild);
    this.announce(action ? `${text} ${action.label}: press U.` : text);
    stayWhileLookedAt(card, action ? card_with_action_shown_ms : card_shown_ms, remove);
  }

  /** Runs the latest card's action; false: there is none. */
  runAction() {
    const latest = this.#latest;
    if (latest === null) return false;
    this.#remove(latest.card);
    latest.action.run();
    return true;
  }

  #actionButton(action, remove) {
    const run = () => {
      remove();
      action.run();
    };
    return element("button", { type: "button", class: "quiet", onclick: run }, action.label);
  }

  #remove(card) {
    card.remove();
    if (this.#latest?.card === card) this.#latest = null;
  }
}

function stayWhileLookedAt(card, time_ms, remove) {
  let timer = setTimeout(remove, time_ms);
  const hold = () => clearTimeout(timer);
  const release = () => {
    clearTimeout(timer);
    timer = setTimeout(remove, time_ms);
  };
  card.addEventListener("pointerenter", hold);
  card.addEventListener("focusin", hold);
  card.addEventListener("pointerleave", release);
  card.addEventListener("focusout", release);
}

customElements.define("notice-board", NoticeBoard);

/** Events a minute, the last half hour, as bars. */
import { drawing, element, say } from "./dom.js";
import { count } from "./words.js";

const minutes_shown = 30;
const minute_ms = 60_000;
const bar_width = 10;
const bar_gap = 2;
const height = 56;
/** The scale never ends below this, so that a single event is not a tower. */
const peak_min = 4;

export class EventChart extends HTMLElement {
  /** @type {Map<number, number>} events of each minute since 1970 */
  #minutes = new Map();
  #knownSince_ms = Infinity;
  #picture = drawing("svg", { viewBox: `0 0 ${minutes_shown * bar_width} ${height}`, preserveAspectRatio: "none", role: "img" });
  #now = element("strong");
  #peak = element("span");

  connectedCallback() {
    if (this.firstChild) return;
    const head = element("figcaption", {}, element("span", { class: "label" }, "Events a minute"), this.#now);
    const foot = element("div", { class: "chart-foot", "aria-hidden": "true" }, "30 min ago", this.#peak, "now");
    this.append(element("figure", {}, head, this.#picture, foot));
  }

  /** @param {string[]} times when events were recorded */
  add(times) {
    for (const time of times) {
      const minute = Math.floor(Date.parse(time) / minute_ms);
      this.#minutes.set(minute, (this.#minutes.get(minute) ?? 0) + 1);
    }
  }

  /** From this time on every event has been added; of what was before nothing is known. */
  set knownSince(time_ms) {
    this.#knownSince_ms = time_ms;
  }

  clear() {
    this.#minutes.clear();
    this.#knownSince_ms = Infinity;
  }

  /** @param {number} now_ms the service's time */
  show(now_ms) {
    const last = Math.floor(now_ms / minute_ms);
    const first = last - minutes_shown + 1;
    for (const minute of this.#minutes.keys()) if (minute < first) this.#minutes.delete(minute);
    const counts = Array.from({ length: minutes_shown }, (_, index) => this.#minutes.get(first + index) ?? 0);
    const peak = Math.max(peak_min, ...counts);
    this.#picture.replaceChildren(...counts.map((number, index) => this.#bar(number / peak, index, first + index)));
    const most = Math.max(...counts);
    const now = `${count(counts.at(-1))}${this.#isWhole(last) ? "" : " or more"} in this minute`;
    const label = `Events a minute over the last 30 minutes: ${now}, most seen ${count(most)}`;
    this.#picture.setAttribute("aria-label", label);
    say(this.#now, this.#knownSince_ms === Infinity ? "–" : now);
    say(this.#peak, most > 0 ? `most: ${count(most)}` : "");
  }

  /** All events of the minute are known, not only its last ones. */
  #isWhole(minute) {
    return minute * minute_ms >= this.#knownSince_ms;
  }

  #kind(share, minute, isCurrent) {
    if (!this.#isWhole(minute)) return share === 0 ? "unknown" : "partly";
    if (isCurrent) return "current";
    return share === 0 ? "none" : "";
  }

  #bar(share, index, minute) {
    const length = Math.max(share * (height - 2), 2);
    return drawing("rect", {
      class: this.#kind(share, minute, index === minutes_shown - 1),
      x: index * bar_width + bar_gap / 2,
      y: height - length,
      width: bar_width - bar_gap,
      height: length,
      rx: 1.5,
    });
  }
}

customElements.define("event-chart", EventChart);

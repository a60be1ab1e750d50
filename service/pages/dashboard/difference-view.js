/** Differences as a person sees them: what went is struck out, what came is marked, and both are said in words too. */
import { difference } from "./difference.js";
import { element, unseen } from "./dom.js";
import { count } from "./words.js";

/** Of text that stayed the same, this much is shown beside a change; the rest is left out. */
const context_characters = 120;

/** Both sides in one text, for a history. */
export function differenceView(before, after) {
  const parts = difference(before, after);
  const nodes = parts.map((part, index) => {
    if (part.kind === "same") return same(part.text, index > 0, index < parts.length - 1);
    return changed(part);
  });
  return element("div", { class: "difference" }, ...nodes);
}

/** One side alone: `text`, with what in it is not in `base` marked. */
export function sideView(base, text) {
  const parts = base === null ? [{ kind: "same", text }] : difference(base, text);
  const kept = parts.filter(({ kind }) => kind !== "removed");
  const nodes = kept.map((part) => (part.kind === "same" ? part.text : changed(part)));
  return element("div", { class: "difference" }, ...(text === "" ? [element("em", {}, "empty")] : nodes));
}

function changed({ kind, text }) {
  const added = kind === "added";
  return element(added ? "ins" : "del", {}, unseen(added ? " added: " : " removed: "), text, unseen(" , end. "));
}

function same(text, hasBefore, hasAfter) {
  const head = hasBefore ? context_characters : 0;
  const tail = hasAfter ? context_characters : 0;
  if (text.length <= head + tail + 40) return text;
  const left = text.length - head - tail;
  const gap = element("span", { class: "gap" }, ` … ${count(left)} characters the same … `);
  return element("span", {}, text.slice(0, head), gap, tail ? text.slice(-tail) : "");
}

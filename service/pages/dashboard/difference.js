/**
 * The difference of two texts, word by word.
 *
 * The shortest edit script after Myers (1986), "An O(ND) difference algorithm". Its time grows with the square of what
 * differs, so it is bounded: texts that differ in more than `steps_max` places are compared line by line, and if
 * that is still too much, shown as one text that replaced another.
 */

/** Greatest length of the edit script: about 1,000,000 steps and 8 MB for the way back. */
const steps_max = 1_000;

/**
 * @returns {{kind: "same"|"removed"|"added", text: string}[]} in order; neighbours are of different kinds
 */
export function difference(before, after) {
  return compared(words(before), words(after)) ?? compared(lines(before), lines(after)) ?? replaced(before, after);
}

/** White space, words, and every other sign by itself: together they are the whole text. */
function words(text) {
  return text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
}

function lines(text) {
  return text.match(/[^\n]*\n|[^\n]+/g) ?? [];
}

function replaced(before, after) {
  return joined([{ kind: "removed", text: before }, { kind: "added", text: after }]);
}

function compared(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  const rest = Math.min(before.length, after.length) - start;
  while (end < rest && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const middle = script(before.slice(start, before.length - end), after.slice(start, after.length - end));
  if (middle === null) return null;
  const same = (parts) => ({ kind: "same", text: parts.join("") });
  return joined([same(before.slice(0, start)), ...middle, same(before.slice(before.length - end))]);
}

/** The furthest reach on each diagonal, a row a step; then the way back. Null: longer than `steps_max`. */
function script(before, after) {
  const rows = [];
  let reach = new Map([[1, 0]]);
  for (let steps = 0; steps <= steps_max; steps += 1) {
    const next = new Map();
    rows.push(reach);
    for (let diagonal = -steps; diagonal <= steps; diagonal += 2) {
      let x = goesDown(reach, diagonal, steps) ? reach.get(diagonal + 1) : reach.get(diagonal - 1) + 1;
      while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) x += 1;
      next.set(diagonal, x);
      if (x >= before.length && x - diagonal >= after.length) return wayBack(rows, before, after);
    }
    reach = next;
  }
  return null;
}

function goesDown(reach, diagonal, steps) {
  return diagonal === -steps || (diagonal !== steps && reach.get(diagonal - 1) < reach.get(diagonal + 1));
}

function wayBack(rows, before, after) {
  const parts = [];
  let [x, y] = [before.length, after.length];
  for (let steps = rows.length - 1; steps >= 0; steps -= 1) {
    const diagonal = x - y;
    const down = goesDown(rows[steps], diagonal, steps);
    const fromX = steps === 0 ? 0 : rows[steps].get(down ? diagonal + 1 : diagonal - 1);
    const fromY = steps === 0 ? 0 : fromX - (down ? diagonal + 1 : diagonal - 1);
    while (x > fromX && y > fromY) {
      x -= 1;
      y -= 1;
      parts.push({ kind: "same", text: before[x] });
    }
    if (steps === 0) break;
    parts.push(down ? { kind: "added", text: after[(y -= 1)] } : { kind: "removed", text: before[(x -= 1)] });
  }
  return parts.reverse();
}

/**
 * Changes that follow each other become one: what went, then what came. A blank between two replaced words goes with
 * them, so that a new sentence reads as a sentence.
 */
function joined(parts) {
  const out = [];
  let [removed, added] = ["", ""];
  const put = (kind, text) => {
    if (text === "") return;
    if (out.at(-1)?.kind === kind) out.at(-1).text += text;
    else out.push({ kind, text });
  };
  const end = () => {
    put("removed", removed);
    put("added", added);
    [removed, added] = ["", ""];
  };
  for (const [index, { kind, text }] of parts.entries()) {
    const isBlank = kind === "same" && text.trim() === "" && removed !== "" && added !== "";
    const isBetween = isBlank && index < parts.length - 1 && parts[index + 1].kind !== "same";
    if (kind === "removed" || isBetween) removed += text;
    if (kind === "added" || isBetween) added += text;
    if (kind !== "same" || isBetween) continue;
    end();
    put("same", text);
  }
  end();
  return out;
}

/** Numbers, times and events in words for people. */

const numbers = new Intl.NumberFormat("en");
const dates = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const exactDates = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "medium" });
const times = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

const minute_s = 60;
const hour_s = 3_600;
const day_s = 86_400;
/** After this a date says more than a number of days. */
const relative_days_max = 7;

export const field_labels = {
  title: "Title",
  description: "Description",
  priority: "Priority",
  created_by: "Author",
  created_at: "Created",
};

export const field_names = Object.keys(field_labels);

export function count(number) {
  return numbers.format(number);
}

/** "1 note", "2 notes". */
export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function date(text) {
  return dates.format(new Date(text));
}

export function exactDate(text) {
  return exactDates.format(new Date(text));
}

export function timeOfDay(when) {
  return times.format(new Date(when));
}

/** "now", "5 min ago", "3 h ago", "2 days ago", else the date. */
export function ago(text, now_ms) {
  const passed_s = (now_ms - Date.parse(text)) / 1_000;
  if (Number.isNaN(passed_s)) return text;
  if (passed_s < 10) return "now";
  if (passed_s < minute_s) return `${Math.floor(passed_s)} s ago`;
  if (passed_s < hour_s) return `${Math.floor(passed_s / minute_s)} min ago`;
  if (passed_s < day_s) return `${Math.floor(passed_s / hour_s)} h ago`;
  const days = Math.floor(passed_s / day_s);
  if (days <= relative_days_max) return days === 1 ? "yesterday" : `${days} days ago`;
  return date(text);
}

/** A value of a note's field as a person reads it. */
export function shown(field, value) {
  if (value === null || value === undefined) return "";
  if (field === "created_at") return date(value);
  return String(value);
}

const verbs = { NoteCreated: "wrote", NoteEdited: "edited", NoteDeleted: "deleted", NoteRestored: "brought back" };

/** "wrote", "edited", …; an event type that this page does not know is named as it is. */
export function verb(type) {
  return verbs[type] ?? type;
}

/** What an edit changed: "title and priority". */
export function changedFields(data) {
  const names = field_names.filter((name) => name in data).map((name) => field_labels[name].toLowerCase());
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Up to two letters that stand for a person. */
export function initials(name) {
  const parts = name.trim().split(/[\s._@-]+/).filter(Boolean);
  const letters = [parts[0], parts.length > 1 ? parts.at(-1) : ""].map((part) => Array.from(part ?? "")[0] ?? "");
  return letters.join("").toUpperCase() || "?";
}

/** There are so many colours for people in parts.css. */
const colours = 8;

/** One of the colours, the same for the same name everywhere (FNV-1a, so that like names get unlike colours). */
export function colourOf(name) {
  let hash = 0x811c9dc5;
  for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  return (hash >>> 8) % colours;
}

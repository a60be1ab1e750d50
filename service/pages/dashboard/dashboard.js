/** The page: its parts are put together here, and nowhere else do they know of each other. */
import { Notelog, Unreachable } from "./notelog.js";
import { Drafts } from "./drafts.js";
import { Editing } from "./editing.js";
import { NoteTable } from "./notes.js";
import { Route } from "./route.js";
import { Shortcuts } from "./shortcuts.js";
import { button, element, state } from "./dom.js";
import { count, counted } from "./words.js";
import "./activity-panel.js";
import "./connection-status.js";
import "./note-filters.js";
import "./note-list.js";
import "./note-panel.js";
import "./notices.js";
import "./time-slider.js";
import "./token-dialog.js";

const find = (selector) => document.querySelector(selector);

const notelog = new Notelog();
const drafts = new Drafts(notelog.url.pathname);
const table = new NoteTable();
const route = new Route();
const shortcuts = new Shortcuts();

const list = find("note-list");
const panel = find("note-panel");
const filters = find("note-filters");
const slider = find("time-slider");
const activity = find("activity-panel");
const notices = find("notice-board");
const help = find("#help");
const search = find("#search");

find("token-dialog").notelog = notelog;
const live = notelog.connect();
const editing = new Editing(notelog, drafts, () => live.epoch);
const subscription = live.subscribe("notes", { after: 0 }, {
  notes: ({ notes, removed }) => table.apply(notes, removed),
  caughtUp: () => caughtUp(),
  reset: () => forget(),
  refused: ({ message }) => notices.show(`The notes cannot be followed: ${message}`, { kind: "bad" }),
});

list.configure({ drafts, now: () => notelog.now() });
list.table = table;
panel.configure({ notelog, table, editing, notices });
slider.configure({ notelog, live, filters });
activity.configure({ notelog, live, table, notes: subscription });
find("connection-status").configure({
  live,
  notes: subscription,
  notices,
  place: find("#connection-place"),
  askForToken: () => find("token-dialog").ask(),
});

function caughtUp() {
  table.completed();
  find("connection-status").show();
}

/** Another log has taken the place of the old one: nothing that was known holds any more, but for what was typed. */
function forget() {
  table.clear();
  notices.show("The service has another log than before, perhaps from a backup. The list is read anew.", { kind: "warn" });
}

// The list.

filters.search = search;
filters.addEventListener("choose", ({ detail }) => {
  table.choose(detail);
  list.toStart();
  showPlaceholder();
});

for (const shown of [table, slider.table]) shown.addEventListener("change", () => showTable());
table.addEventListener("change", ({ detail }) => {
  activity.showPosition();
  if (detail.live) notices.announceNews([...detail.changed, ...detail.removed], (number) => `${counted(number, "note")} changed.`);
});

function shownTable() {
  return slider.position === null ? table : slider.table;
}

function showTable() {
  filters.show(shownTable());
  showPlaceholder();
}

function showPlaceholder() {
  const shown = shownTable();
  list.setAttribute("aria-busy", !shown.complete);
  if (shown.view.length > 0) list.placeholder = null;
  else list.placeholder = placeholder(shown);
}

function placeholder(shown) {
  if (!shown.complete) return live.state === "open" || slider.position !== null ? skeleton() : unreachable();
  if (shown.size > 0) {
    const clear = button("Clear search and filters", () => filters.clear());
    return state("search", "Nothing matches", "No note has all of what is asked for.", clear);
  }
  if (slider.position !== null) return state("clock", "Nothing yet", `At position ${count(slider.position)} there was no note.`);
  const write = button("Write the first one", () => route.open(null), { class: "primary" });
  return state("pencil", "No notes yet", "Whatever anybody writes appears here at once.", write);
}

function skeleton() {
  return element("div", { class: "skeleton", role: "status", "aria-label": "Loading the notes" }, ...Array.from({ length: 8 }, () => element("div")));
}

function unreachable() {
  if (live.state === "unauthorized") return state("warning", "A token is needed", "This service lets only those in who have one.");
  if (live.state === "waiting") return state("pulse", "No connection", "The notes appear as soon as the service answers.");
  return skeleton();
}

live.addEventListener("state", () => {
  showPlaceholder();
  if (live.state === "open") for (const id of [null, panel.noteId]) if (id !== undefined) editing.settle(id);
});

// One note.

addEventListener("open-note", ({ detail }) => route.open(detail.id, detail.tab));
addEventListener("delete-note", ({ detail }) => remove(detail.id));
addEventListener("restore-note", ({ detail }) => restore(detail.id));
addEventListener("revert-note", ({ detail }) => revert(detail.id, detail.version));
panel.addEventListener("close", () => closePanel());
panel.addEventListener("opened", ({ detail }) => route.open(detail.id));
panel.addEventListener("tab", ({ detail }) => route.open(panel.noteId, detail.tab));
route.addEventListener("change", () => showRoute(true));

function showRoute(withFocus) {
  const { where } = route;
  const column = panel.parentElement;
  const wasOpen = !column.hidden;
  const isSame = wasOpen && where?.id === panel.noteId;
  column.hidden = where === null;
  document.body.classList.toggle("with-panel", where !== null);
  list.open = where?.id ?? null;
  if (where === null) {
    panel.close();
    if (wasOpen && withFocus) list.focusActive();
    return;
  }
  panel.open(where.id, where.tab, where.id === null ? null : slider.position);
  if (withFocus && !isSame) panel.focusFirst();
}

function closePanel() {
  route.close();
}

async function remove(id) {
  const note = table.get(id);
  if (!note || slider.position !== null) return;
  try {
    await notelog.delete(id, { version: note.version });
    const action = { label: "Undo", run: () => restore(id) };
    notices.show(`“${short(note.title)}” was deleted.`, { action });
    if (panel.noteId === id && !drafts.has(id)) closePanel();
  } catch (error) {
    tell(error, "Not deleted");
  }
}

async function restore(id) {
  try {
    const note = await notelog.restore(id);
    notices.show(`“${short(note.title)}” is back.`);
  } catch (error) {
    tell(error, "Not restored");
  }
}

async function revert(id, version) {
  try {
    await notelog.revert(id, version, { version: table.get(id)?.version });
    slider.position === null ? null : slider.leave();
    notices.show(`Note ${id} is again what it was at version ${version}.`);
  } catch (error) {
    tell(error, "Not changed");
  }
}

function tell(error, what) {
  const sentence = error instanceof Unreachable ? "no answer from the service." : error.message;
  notices.show(`${what}: ${sentence}`, { kind: "bad" });
}

function short(title) {
  return title.length > 60 ? `${title.slice(0, 60)}…` : title;
}

// The past.

slider.addEventListener("travel", () => {
  const inThePast = slider.position !== null;
  document.body.classList.toggle("in-the-past", inThePast);
  find("#time-button").setAttribute("aria-expanded", inThePast);
  list.table = shownTable();
  showTable();
  if (route.where) showRoute(false);
});

function travel() {
  if (slider.position === null) slider.enter();
  else leavePast();
}

function leavePast() {
  slider.leave();
  find("#time-button").focus();
}

// Places, keys, help.

function goTo(place) {
  document.body.dataset.place = place;
  for (const name of ["notes", "activity"]) find(`#place-${name}`).setAttribute("aria-pressed", name === place);
}

function focusList() {
  goTo("notes");
  list.focusActive();
}

function focusActivity() {
  goTo("activity");
  (activity.querySelector(".event-button") ?? find("#place-activity")).focus();
}

function escape(event) {
  if (event.target === search && search.value !== "") {
    search.value = "";
    search.dispatchEvent(new Event("input"));
  } else if (route.where) closePanel();
  else if (slider.position !== null) leavePast();
  else list.focusActive();
}

function showHistory() {
  const id = route.where?.id ?? list.activeId;
  if (id !== null) route.open(id, "history");
}

function write() {
  if (slider.position !== null) slider.leave();
  route.open(null);
}

function showHelp() {
  find("#single-keys").checked = shortcuts.isOn;
  help.showModal();
}

shortcuts.on("n", write);
shortcuts.on("/", () => search.focus());
shortcuts.on("j", () => list.step(1));
shortcuts.on("k", () => list.step(-1));
shortcuts.on("u", () => notices.runAction());
shortcuts.on("h", showHistory);
shortcuts.on("t", travel);
shortcuts.on("a", focusActivity);
shortcuts.on("l", focusList);
shortcuts.on("?", showHelp);
shortcuts.on("Escape", escape);
shortcuts.on("Control+s Control+Enter", () => panel.save());

find("#new-button").addEventListener("click", write);
find("#help-button").addEventListener("click", showHelp);
find("#time-button").addEventListener("click", travel);
find("#place-notes").addEventListener("click", () => goTo("notes"));
find("#place-activity").addEventListener("click", () => goTo("activity"));
find("#single-keys").addEventListener("change", ({ target }) => (shortcuts.isOn = target.checked));
find("#skip").addEventListener("click", (event) => {
  event.preventDefault();
  focusList();
});

addEventListener("beforeunload", (event) => {
  if (drafts.size > 0) event.preventDefault();
});

goTo("notes");
showPlaceholder();
if (route.where) showRoute(false);
/** Only to learn at once, not after the websocket's 10 s, whether a token is needed; the rest comes by the feed. */
notelog.list({ limit: 1 }).catch(() => {});

/** Small tools to build the page with. Text is always set as text: nothing here parses markup. */

const svg_namespace = "http://www.w3.org/2000/svg";

/**
 * An element with attributes and children. `on…` functions are listeners; true and false set and leave out an
 * attribute; `value` and `checked` are set as what the element has now. Children that are null or false are left out.
 */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function drawing(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(svg_namespace, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) set(made, name, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function set(made, name, value) {
  if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
  else if (name === "value" || name === "checked") made[name] = value;
  else if (value === true) made.setAttribute(name, "");
  else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
}

/** Sets text only when it differs, so that nothing is drawn (or read out) again for nothing. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Sets an attribute only when it differs. */
export function change(target, name, value) {
  if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}

/** Words that only a screen reader meets. */
export function unseen(text) {
  return element("span", { class: "unseen" }, text);
}

const icon_paths = {
  plus: "M8 3v10M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  back: "M13 8H3M7 4L3 8l4 4",
  undo: "M6 3L3 6l3 3M3 6h6.5a3.5 3.5 0 0 1 0 7H6",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5M6.8 7v3.8M9.2 7v3.8",
  clock: "M8 4.8V8l2.2 1.4M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2z",
  pencil: "M3 13l.6-2.8 7-7a1.2 1.2 0 0 1 1.7 0l.5.5a1.2 1.2 0 0 1 0 1.7l-7 7z",
  up: "M8 13V3M4 7l4-4 4 4",
  left: "M10 3.5L5.5 8l4.5 4.5",
  right: "M6 3.5L10.5 8 6 12.5",
  filter: "M2.5 4h11M4.5 8h7M6.5 12h3",
  search: "M7 2.500a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.3 10.300L13.5 13.5",
  pulse: "M1.5 8h3l2-5 3 10 2-5h3",
  list: "M3 4h10M3 8h10M3 12h6",
  warning: "M8 2.500l6 10.500H2zM8 6.500v3M8 11.300v.2",
};

/** A small drawing in the colour of the text; decoration, so hidden from screen readers. */
export function icon(name) {
  const path = drawing("path", { d: icon_paths[name] });
  return drawing("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, path);
}

export function button(label, onclick, attributes = {}, ...before) {
  return element("button", { type: "button", onclick, ...attributes }, ...before, element("span", {}, label));
}

/** A button that shows a drawing only; its label is for screen readers and for the pointer that rests. */
export function iconButton(name, label, onclick, attributes = {}) {
  const options = { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...attributes };
  return element("button", options, icon(name));
}

/** A picture, a heading, a sentence and what can be done: for everything that is empty, waiting or wrong. */
export function state(iconName, heading, sentence, ...actions) {
  return element(
    "div",
    { class: "state" },
    element("span", { class: "state-picture" }, icon(iconName)),
    element("h3", {}, heading),
    sentence ? element("p", {}, sentence) : null,
    actions.length ? element("div", { class: "actions" }, ...actions) : null,
  );
}

/**
 * Keys for the whole page. Single keys work only outside of fields, and can be switched off, for those who speak to
 * their computer (WCAG 2.1.4); the choice is remembered in this browser.
 */
const storage_name = "notelog single keys";

export class Shortcuts {
  /** @type {Map<string, () => void>} */
  #keys = new Map();
  #isOn = stored() !== "off";

  constructor() {
    document.addEventListener("keydown", (event) => this.#pressed(event));
  }

  on(keys, run) {
    for (const key of keys.split(" ")) this.#keys.set(key, run);
  }

  get isOn() {
    return this.#isOn;
  }

  set isOn(isOn) {
    this.#isOn = isOn;
    try {
      localStorage.setItem(storage_name, isOn ? "on" : "off");
    } catch {
      // Storage is forbidden: the choice lasts as long as the page.
    }
  }

  #pressed(event) {
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    const isCommand = event.ctrlKey || event.metaKey;
    const name = isCommand ? `Control+${event.key}` : event.key;
    const isSingle = !isCommand && event.key.length === 1;
    if (isSingle && (!this.#isOn || isField(event.target))) return;
    const run = this.#keys.get(name);
    if (!run) return;
    event.preventDefault();
    run(event);
  }
}

function isField(target) {
  if (target.matches("textarea, select")) return true;
  return target.matches("input") && !["radio", "checkbox", "range", "button"].includes(target.type);
}

function stored() {
  try {
    return localStorage.getItem(storage_name);
  } catch {
    return null;
  }
}

/** Asks for a token. It is handed to the client, which keeps it in the memory of this tab, and stands nowhere else. */
import { button, element, say } from "./dom.js";

export class TokenDialog extends HTMLElement {
  #notelog = null;
  #input = element("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true });
  #reason = element("p");
  #dialog = element("dialog", { "aria-labelledby": "token-heading" });

  connectedCallback() {
    if (this.firstChild) return;
    const actions = element(
      "div",
      { class: "actions" },
      button("Use it", () => {}, { class: "primary", type: "submit" }),
      button("Not now", () => this.#dialog.close(), { class: "quiet" }),
    );
    const form = element(
      "form",
      { onsubmit: (event) => this.#given(event) },
      element("h2", { id: "token-heading" }, "A token, please"),
      this.#reason,
      element("div", { class: "field" }, element("label", { for: "token" }, "Bearer token"), this.#input),
      element("p", { class: "hint" }, "It stays in the memory of this tab, and is gone when the tab is closed or loaded anew."),
      actions,
    );
    this.#dialog.append(form);
    this.append(this.#dialog);
  }

  set notelog(notelog) {
    this.#notelog = notelog;
    notelog.addEventListener("token-needed", () => this.ask());
  }

  ask() {
    if (this.#dialog.open) return;
    const reason = this.#notelog.token
      ? "The service does not accept the token that it was given: it may have expired."
      : "This service lets only those in who have one.";
    say(this.#reason, reason);
    this.#dialog.showModal();
  }

  #given(event) {
    event.preventDefault();
    const token = this.#input.value.trim();
    if (token === "") return;
    this.#input.value = "";
    this.#dialog.close();
    this.#notelog.token = token;
  }
}

customElements.define("token-dialog", TokenDialog);

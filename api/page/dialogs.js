/** The two dialogs: one asks for an API key, one shows text that the browser does not let the page copy. */

export class KeyDialog {
  /** @param {HTMLDialogElement} dialog with the form, the field and an element for its error message */
  constructor(dialog) {
    this.dialog = dialog;
    this.field = dialog.querySelector("input");
    this.problem = dialog.querySelector("[role=alert]");
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take();
    });
    dialog.querySelector("#key-cancel").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.answer?.(this.key));
  }

  /** Ask for a key: the key, or null. */
  ask(rejected) {
    this.key = null;
    this.field.value = "";
    this.#complain(rejected ? "The service did not accept that key." : "");
    if (!this.dialog.open) this.dialog.showModal();
    return new Promise((answer) => (this.answer = answer));
  }

  #take() {
    const key = this.field.value.trim();
    if (!/^[\x21-\x7e]+$/u.test(key)) return this.#complain("A key has only ASCII characters, and no spaces.");
    this.key = key;
    return this.dialog.close();
  }

  #complain(text) {
    this.problem.textContent = text;
    this.field.setAttribute("aria-invalid", String(text !== ""));
  }
}

export class Copier {
  /** @param {HTMLDialogElement} dialog with a read-only textarea, for pages outside a secure context */
  constructor(dialog) {
    this.dialog = dialog;
    this.source = dialog.querySelector("textarea");
    dialog.querySelector("#copy-close").addEventListener("click", () => dialog.close());
  }

  /** Copy the text, or show it for copying; returns whether it was copied. */
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      this.source.value = text;
      this.dialog.showModal();
      this.source.select();
      return false;
    }
  }
}

/** A shell command that sends the request; it takes the API key from a shell variable. */
export function curlCommand(body, withKey) {
  const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const key = withKey ? ' -H "X-API-Key: $API_KEY"' : "";
  const url = quoted(new URL("respond", document.baseURI).href);
  return `curl -s ${url} -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(body))}`;
}

/** Messages of the page: short-lived ones, and a problem that stays until it is solved. */

const SHOWN_MS = 7000;

export class Notices {
  /**
   * @param {{status: HTMLElement, announcement: HTMLElement, box: HTMLElement, text: HTMLElement,
   *   retry: HTMLButtonElement}} parts
   * @param {HTMLElement} refuge gets the focus if a problem that had it is solved
   */
  constructor(parts, refuge) {
    Object.assign(this, parts, { refuge });
    this.retry.addEventListener("click", () => this.again?.());
  }

  /** Show a message for a few seconds. */
  say(text) {
    this.#read(this.status, text);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.status.textContent = ""), SHOWN_MS);
  }

  /** A message for screen readers only: the page shows the same in another way. */
  announce(text) {
    this.#read(this.announcement, text);
  }

  #read(region, text) {
    region.textContent = "";
    requestAnimationFrame(() => (region.textContent = text)); // so that a repeated message is read again
  }

  /** Show a problem, with a button that tries again. */
  problem(text, label, again) {
    this.again = again;
    this.retry.textContent = label;
    this.retry.hidden = !again;
    this.box.hidden = false;
    this.text.textContent = text;
    this.box.scrollIntoView({ block: "nearest" });
  }

  /** Hide the problem. */
  solved() {
    if (this.box.contains(document.activeElement)) this.refuge.focus();
    this.box.hidden = true;
    this.text.textContent = "";
  }
}

/** What the page tells: a passing word, and a problem that stays until it is solved. */

const SHOWN_MS = 7000;

export class Notices {
  /**
   * @param {{status: HTMLElement, announcement: HTMLElement, box: HTMLElement, text: HTMLElement,
   *   retry: HTMLButtonElement}} parts
   * @param {HTMLElement} refuge takes the focus of a problem that is solved
   */
  constructor(parts, refuge) {
    Object.assign(this, parts, { refuge });
    this.retry.addEventListener("click", () => this.again?.());
  }

  /** Say something in passing. */
  say(text) {
    this.#read(this.status, text);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.status.textContent = ""), SHOWN_MS);
  }

  /** Say to screen readers alone what the eye sees anyway. */
  announce(text) {
    this.#read(this.announcement, text);
  }

  #read(region, text) {
    region.textContent = "";
    requestAnimationFrame(() => (region.textContent = text)); // the same words twice are read twice
  }

  /** Tell a problem, with a button that tries again. */
  problem(text, label, again) {
    this.again = again;
    this.retry.textContent = label;
    this.retry.hidden = !again;
    this.box.hidden = false;
    this.text.textContent = text;
    this.box.scrollIntoView({ block: "nearest" });
  }

  /** The problem is solved. */
  solved() {
    if (this.box.contains(document.activeElement)) this.refuge.focus();
    this.box.hidden = true;
    this.text.textContent = "";
  }
}

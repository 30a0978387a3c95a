/** What the page tells: a passing word, and a problem that stays until it is solved. */

const SHOWN_MS = 7000;

export class Notices {
  /**
   * @param {{status: HTMLElement, box: HTMLElement, text: HTMLElement, retry: HTMLButtonElement}} parts
   * @param {HTMLElement} refuge takes the focus of a problem that is solved
   */
  constructor(parts, refuge) {
    Object.assign(this, parts, { refuge });
    this.retry.addEventListener("click", () => this.again?.());
  }

  /** Say something in passing; `quiet` tells it to screen readers alone, where the eye sees it anyway. */
  say(text, { quiet = false } = {}) {
    this.status.textContent = "";
    this.status.classList.toggle("shown", !quiet);
    clearTimeout(this.timer);
    requestAnimationFrame(() => (this.status.textContent = text)); // the same words twice are said twice
    this.timer = setTimeout(() => this.status.classList.remove("shown"), SHOWN_MS);
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

/** The settings of a request: number of replies, diversity, seed. */

const SEEDS = 1_000_000; // short enough to write down
const OF_SERVER = "server's default";

export class Settings {
  /**
   * @param {{number: HTMLInputElement, diversity: HTMLInputElement, seed: HTMLInputElement, newSeed: HTMLButtonElement,
   *   numberValue: HTMLElement, diversityValue: HTMLElement, seedProblem: HTMLElement}} parts
   * @param {() => void} changed called when a setting changes
   */
  constructor(parts, changed) {
    Object.assign(this, parts);
    this.touched = new Set(); // fields that the user has set; the others have the server's defaults
    this.defaultDiversity = null; // null: the server chooses how replies are drawn in another way
    for (const name of ["number", "diversity"]) {
      this[name].addEventListener("input", () => this.touched.add(name) && this.#display());
      this[name].addEventListener("change", () => changed());
    }
    this.seed.addEventListener("change", () => this.#checkSeed() && changed());
    this.newSeed.addEventListener("click", () => {
      this.seed.value = String(drawnSeed());
      this.#checkSeed();
      changed();
    });
    this.seed.value = String(drawnSeed());
    this.#display();
  }

  /** Apply limits and defaults of GET /model. */
  limit({ limits, defaults }) {
    this.number.max = String(limits.num_responses);
    if (!this.touched.has("number")) this.number.value = String(defaults.num_responses);
    this.defaultDiversity = defaults.diversity ?? null;
    const diversity = this.defaultDiversity ?? defaults.nearest_diversity ?? null;
    if (!this.touched.has("diversity") && diversity !== null) this.diversity.value = String(diversity);
    this.#display();
  }

  /** The user's diversity, else the server's; null: none is sent, because it would replace the server's options. */
  get #chosenDiversity() {
    return this.touched.has("diversity") ? Number(this.diversity.value) : this.defaultDiversity;
  }

  /** The fields of a request; an invalid seed is reported on the page, and the last valid one is used. */
  get fields() {
    const diversity = this.#chosenDiversity;
    return {
      num_responses: Number(this.number.value),
      ...(diversity === null ? {} : { diversity }),
      seed: this.lastSeed ?? Number(this.seed.value),
    };
  }

  /** Restore the result of `toJSON`. */
  restore({ number, diversity, seed }) {
    for (const [name, value] of Object.entries({ number, diversity })) {
      if (value === undefined) continue;
      this[name].max = String(Math.max(Number(this[name].max), Number(value))); // until the limits are known
      this[name].value = value;
      this.touched.add(name);
    }
    if (seed !== undefined) this.seed.value = seed;
    this.#checkSeed();
    this.#display();
  }

  toJSON() {
    const touched = [...this.touched].map((name) => [name, this[name].value]);
    return { ...Object.fromEntries(touched), seed: String(this.fields.seed) };
  }

  #checkSeed() {
    const text = this.seed.value.trim();
    const readable = /^\d+$/u.test(text) && Number.isSafeInteger(Number(text));
    this.seed.setAttribute("aria-invalid", String(!readable));
    this.seedProblem.textContent = readable ? "" : `A seed is a whole number from 0 to ${Number.MAX_SAFE_INTEGER}.`;
    if (readable) this.lastSeed = Number(text);
    return readable;
  }

  #display() {
    this.numberValue.textContent = this.number.value;
    const diversity = this.#chosenDiversity;
    const shown = diversity === null ? OF_SERVER : diversity.toFixed(2);
    const ends = { 0: ", the likeliest", 1: ", the most varied" };
    this.diversityValue.textContent = shown;
    this.diversity.setAttribute("aria-valuetext", `${shown}${ends[diversity] ?? ""}`);
  }
}

function drawnSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % SEEDS;
}

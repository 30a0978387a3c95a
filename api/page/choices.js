/** Choices that only some services offer: the model, who writes the replies, and the role of speaker B. */

const SOURCES = { model: "The model", corpus: "People, from its conversations", both: "Both" };
const NO_ROLE = "";

export class Choices {
  /**
   * @param {{model: HTMLSelectElement, source: HTMLSelectElement, role: HTMLSelectElement}} parts
   * @param {{model: () => void, other: () => void}} changed another model is chosen; another source or role
   */
  constructor(parts, changed) {
    Object.assign(this, { ...parts, wanted: {} });
    for (const name of ["model", "source", "role"]) {
      this[name].addEventListener("change", () => {
        this.wanted[name] = this[name].value;
        (name === "model" ? changed.model : changed.other)();
      });
    }
  }

  /** Offer what a model has, of GET /model; what it does not have is hidden and left out of requests. */
  offer({ name, models, index, respond_as: roles, defaults }) {
    offerIn(this.model, models?.length > 1 ? models.map((each) => [each, each]) : [], name);
    offerIn(this.source, index ? Object.entries(SOURCES) : [], this.wanted.source ?? defaults.candidates_from);
    const named = (roles ?? []).map((each) => [each, each]);
    offerIn(this.role, named.length ? [...named, [NO_ROLE, "No role"]] : [], this.wanted.role ?? roles?.[0]);
  }

  /** The name of the model to ask about; null: the service's default. */
  get modelName() {
    return this.wanted.model ?? null;
  }

  /** Choose the service's default again; returns whether another one was chosen. */
  forgetModel() {
    const chosen = this.modelName !== null;
    delete this.wanted.model;
    return chosen;
  }

  /** The name of a speaker in a request: that of the role, for B; the other speaker never has the same. */
  nameOf(speaker) {
    const role = this.role.value;
    if (role === NO_ROLE) return speaker;
    if (speaker === "B") return role;
    return role === speaker ? "B" : speaker;
  }

  /** The fields of a request. */
  get fields() {
    return {
      ...(this.modelName === null ? {} : { model: this.modelName }),
      ...(this.wanted.source === undefined || !this.source.value ? {} : { candidates_from: this.source.value }),
    };
  }

  /** Restore the result of `toJSON`. */
  restore(kept) {
    this.wanted = { ...kept };
  }

  toJSON() {
    return this.wanted;
  }
}

/** Show these options, of value and text, with one chosen; without any, hide the field. */
function offerIn(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
  select.closest(".field").hidden = options.length === 0;
}

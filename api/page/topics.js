/**
 * A searchable list of topics, "No topic" first: the editable combobox of the ARIA Authoring Practices. Of a model that
 * has no list, a field for any text.
 */

const NONE = "No topic";
const MOST = 1000; // characters, the service's limit
const OF_A_LIST = { role: "combobox", "aria-expanded": "false", "aria-controls": "topic-list", "aria-autocomplete": "list" };

export class TopicPicker {
  /**
   * @param {HTMLInputElement} input role combobox
   * @param {HTMLUListElement} list role listbox
   * @param {() => void} changed called when another topic is chosen
   */
  constructor(input, list, changed) {
    Object.assign(this, { input, list, changed, topics: [], free: false, value: null, active: -1 });
    input.addEventListener("input", () => this.#open(input.value));
    input.addEventListener("click", () => this.#open());
    input.addEventListener("focus", () => input.select());
    input.addEventListener("blur", () => this.#leave());
    input.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // the input keeps the focus
    list.addEventListener("click", (event) => this.#choose(event.target.closest("[role=option]")));
  }

  /** Set the model's topics; without any, the field is disabled, unless any text may be one (`free`). */
  offer(topics, free = false) {
    this.topics = topics;
    this.free = free;
    this.input.disabled = topics.length === 0 && !free;
    if (free) this.input.maxLength = MOST;
    for (const [name, value] of Object.entries(OF_A_LIST)) {
      if (free) this.input.removeAttribute(name);
      else this.input.setAttribute(name, value);
    }
    this.input.nextElementSibling.toggleAttribute("hidden", free);
    if (this.value !== null && !free && !topics.includes(this.value)) this.set(null);
  }

  /** Show a topic as chosen, or none for null. */
  set(topic) {
    this.value = topic;
    this.input.value = topic ?? NONE;
    this.#close();
  }

  get #options() {
    return [...this.list.querySelectorAll("[role=option]:not([aria-disabled])")];
  }

  /** Open the list of the topics that contain every word of the query; without a query, of all topics. */
  #open(query = "") {
    if (this.free) return;
    const words = query.toLocaleLowerCase().split(/\s+/u).filter(Boolean);
    const fits = (name) => words.every((word) => name.toLocaleLowerCase().includes(word));
    const found = [null, ...this.topics].filter((topic) => fits(topic ?? NONE));
    this.list.replaceChildren(...found.map((topic, index) => this.#option(topic, index)));
    if (!found.length) this.list.append(nothing());
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#activate(query ? 0 : Math.max(0, found.indexOf(this.value)));
  }

  #option(topic, index) {
    const item = document.createElement("li");
    item.id = `topic-${index}`;
    item.role = "option";
    item.textContent = topic ?? NONE;
    item.topic = topic;
    item.ariaSelected = String(topic === this.value);
    return item;
  }

  #activate(index) {
    const options = this.#options;
    this.active = options.length ? (index + options.length) % options.length : -1;
    options.forEach((option, position) => option.classList.toggle("active", position === this.active));
    const option = options[this.active];
    if (!option) return this.input.removeAttribute("aria-activedescendant");
    this.input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  #close() {
    this.list.hidden = true;
    if (!this.free) this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #choose(option) {
    if (!option || option.ariaDisabled) return;
    const before = this.value;
    this.set(option.topic);
    this.input.select();
    if (this.value !== before) this.changed();
  }

  /**
   * On leaving, a completely typed name is chosen; any other text is replaced by the topic chosen before. A free topic
   * is what was typed.
   */
  #leave() {
    const before = this.value;
    if (this.free) {
      const written = this.input.value.trim();
      this.set(written === "" || written === NONE ? null : written);
      if (this.value !== before) this.changed();
      return;
    }
    const typed = this.input.value.trim().toLocaleLowerCase();
    const named = this.topics.find((topic) => topic.toLocaleLowerCase() === typed);
    this.set(named ?? (typed === "" ? null : before));
    if (this.value !== before) this.changed();
  }

  #key(event) {
    const open = !this.list.hidden;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      if (open) this.#activate(this.active + step);
      else this.#open();
    } else if (event.key === "Enter" && open) {
      this.#choose(this.#options[this.active]);
    } else if (event.key === "Enter" && this.free) {
      this.#leave();
    } else if (event.key === "Escape" && open) {
      this.set(this.value);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

function nothing() {
  const item = document.createElement("li");
  item.role = "option";
  item.ariaDisabled = "true";
  item.textContent = "No matching topic";
  return item;
}

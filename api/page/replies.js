/** The replies as cards; the card that the user picks becomes the next turn. */

const SKELETONS = 8;

export class Replies {
  /**
   * @param {{section: HTMLElement, title: HTMLElement, keys: HTMLElement, cards: HTMLOListElement, note: HTMLElement,
   *   by: HTMLElement}} parts `keys` is the label of the switch for number keys, `by` says which model answered
   * @param {{pick: (card: number) => void, light: (card: number|null) => void}} on a card is picked; is pointed at
   */
  constructor(parts, on) {
    Object.assign(this, { ...parts, on, count: 0 });
    this.switch = this.keys.querySelector("input");
    this.switch.addEventListener("change", () => this.#hintKeys());
    const light = (event) => on.light(cardOf(event));
    this.cards.addEventListener("click", (event) => cardOf(event) !== null && on.pick(cardOf(event)));
    this.cards.addEventListener("pointerover", light);
    this.cards.addEventListener("pointerleave", () => on.light(null));
    this.cards.addEventListener("focusin", light);
    this.cards.addEventListener("focusout", () => on.light(null));
    this.cards.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Set the speaker of the replies; null, for an empty conversation, hides them. */
  head(speaker) {
    this.section.hidden = speaker === null;
    this.title.textContent = `${speaker} could say`;
  }

  /** Show that replies are loading: dim the old ones, or show empty cards if there are none. */
  wait(count) {
    this.section.setAttribute("aria-busy", "true");
    this.section.classList.add("waiting");
    if (!this.count) this.cards.replaceChildren(...Array.from({ length: Math.min(count, SKELETONS) }, skeleton));
  }

  /** Show the candidates, a note, and by whom and how fast they were given; loading is over. */
  show(candidates, note = "", by = "") {
    this.section.removeAttribute("aria-busy");
    this.section.classList.remove("waiting");
    const stays = this.#unchanged(candidates);
    while (this.cards.children.length > stays) this.cards.lastElementChild.remove();
    this.cards.append(...candidates.slice(stays).map((each, index) => card(each, stays + index)));
    this.count = candidates.length;
    this.#hintKeys();
    this.note.textContent = note;
    this.note.hidden = !note;
    this.by.textContent = by;
    this.by.hidden = !by;
  }

  /** Highlight a card; none for null. */
  light(card) {
    this.#buttons.forEach((button, index) => button.classList.toggle("lit", index === card));
  }

  /** Focus a card and scroll to it. */
  go(card) {
    this.#buttons[card]?.focus();
    this.#buttons[card]?.scrollIntoView({ block: "nearest" });
  }

  /** Whether digit keys pick a reply. Single keys disturb voice control, so they can be switched off. */
  get keysOn() {
    return this.switch.checked;
  }

  #hintKeys() {
    const last = Math.min(9, this.count);
    this.keys.hidden = this.count === 0;
    this.keys.querySelector("span").replaceChildren(...keyHint(last));
    this.#buttons.slice(0, last).forEach((button, index) => {
      if (this.keysOn) button.setAttribute("aria-keyshortcuts", String(index + 1));
      else button.removeAttribute("aria-keyshortcuts");
    });
  }

  get #buttons() {
    return [...this.cards.querySelectorAll(".card")];
  }

  /** The number of leading cards that show these candidates already; they stay, and keep the focus. */
  #unchanged(candidates) {
    const texts = this.#buttons.map((button) => button.querySelector(".text").textContent);
    const changed = texts.findIndex((text, index) => text !== candidates[index]?.text);
    return changed < 0 ? texts.length : changed;
  }

  #key(event) {
    const here = cardOf(event);
    const moves = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: this.count - 1 };
    if (here === null || !(event.key in moves)) return;
    event.preventDefault();
    this.go((moves[event.key] + this.count) % this.count);
  }
}

function card(candidate, index) {
  const item = document.createElement("li");
  const button = item.appendChild(document.createElement("button"));
  button.type = "button";
  button.className = "card";
  button.dataset.card = String(index);
  const text = span("text", candidate.text);
  text.dir = "auto"; // of its script
  button.append(span("number", `${index + 1}`), span("visually-hidden", ". "), text);
  button.classList.toggle("cut", candidate.cut ?? false);
  if (candidate.cut) button.append(span("visually-hidden", " (cut off)"));
  if (candidate.fromMap) button.append(span("from", "from the map"));
  return item;
}

function skeleton() {
  const item = document.createElement("li");
  item.className = "skeleton";
  item.setAttribute("aria-hidden", "true");
  return item;
}

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

function keyHint(last) {
  const keys = last > 1 ? [key("1"), " to ", key(String(last))] : [key("1")];
  return [last > 1 ? "Pick with keys " : "Pick with key ", ...keys];
}

function key(name) {
  const element = document.createElement("kbd");
  element.textContent = name;
  return element;
}

function cardOf(event) {
  const button = event.target.closest(".card");
  return button ? Number(button.dataset.card) : null;
}

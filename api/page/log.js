/** The list of turns of the conversation. */

export class Log {
  /** @param {HTMLOListElement} list inside an element of role log, so that screen readers read new turns */
  constructor(list) {
    this.list = list;
  }

  /** Show the turns; those that are already shown stay in place. */
  show(turns) {
    while (this.list.children.length > turns.length) this.list.lastElementChild.remove();
    this.list.append(...turns.slice(this.list.children.length).map(line));
  }

  /** Scroll the newest turn to the top, unless it and all of the element below it are visible. */
  reveal(below) {
    const turn = this.list.lastElementChild;
    if (turn.getBoundingClientRect().top >= 0 && below.getBoundingClientRect().bottom <= innerHeight) return;
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
    turn.scrollIntoView({ block: "start", behavior });
  }
}

function line({ speaker, text }) {
  const item = document.createElement("li");
  item.className = "turn";
  item.dataset.speaker = speaker;
  const who = item.appendChild(document.createElement("span"));
  who.className = "who";
  who.textContent = speaker;
  const said = item.appendChild(document.createElement("p"));
  said.dir = "auto"; // of its script
  said.textContent = text;
  return item;
}

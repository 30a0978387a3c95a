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
}

function line({ speaker, text }) {
  const item = document.createElement("li");
  item.className = "turn";
  item.dataset.speaker = speaker;
  const who = item.appendChild(document.createElement("span"));
  who.className = "who";
  who.textContent = speaker;
  const said = item.appendChild(document.createElement("p"));
  said.textContent = text;
  return item;
}

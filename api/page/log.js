/** The conversation as people read it. */

export class Log {
  /** @param {HTMLOListElement} list within an element of role log, so that new turns are read out */
  constructor(list) {
    this.list = list;
  }

  /** Show the turns: what stands already is left in place. */
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

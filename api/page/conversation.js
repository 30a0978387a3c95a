/** The conversation of two speakers and its undo steps: plain data, independent of the page. */

export const SPEAKERS = ["A", "B"];

export const otherThan = (speaker) => SPEAKERS[1 - SPEAKERS.indexOf(speaker)];

/** One line as the service reads it: no control characters, no lone surrogates, single spaces. */
export function tidy(text) {
  const whole = text.toWellFormed ? text.toWellFormed() : text;
  return whole.replace(/[\s\p{Cc}]+/gu, " ").trim();
}

/** Whether the text has any visible character, as the service decides it. */
export const visible = (text) => /[^\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u.test(text);

/** Characters as the service counts them: code points, not UTF-16 units. */
export const length = (text) => [...text].length;

export class Conversation {
  /**
   * @param {object} stored the result of `toJSON`, or nothing
   */
  constructor({ turns = [], next = SPEAKERS[0], past = [] } = {}) {
    this.turns = turns; // {speaker, text, picked}, oldest first
    this.next = next; // who speaks next
    this.past = past; // undo steps, newest last: {next, shown} for a turn, {next, shown, turns} for a restart
  }

  /** Add a turn of the next speaker; `shown` is the replies shown before, for undo. */
  say(text, { picked = false, shown = null } = {}) {
    this.past.push({ next: this.next, shown });
    this.turns.push({ speaker: this.next, text, picked });
    this.next = otherThan(this.next);
  }

  /** Remove all turns; undo restores them. */
  restart(shown) {
    this.past.push({ next: this.next, shown, turns: this.turns });
    this.turns = [];
    this.next = SPEAKERS[0];
  }

  /** Undo the last step: `{shown, turn}`, where `turn` is the removed turn, or null for a restart. */
  undo() {
    const { next, shown, turns } = this.past.pop();
    const turn = turns ? null : this.turns.pop();
    if (turns) this.turns = turns;
    this.next = next;
    return { shown, turn };
  }

  get undoesRestart() {
    return Boolean(this.past.at(-1)?.turns);
  }

  /** Readable text: one line for each turn. */
  toString() {
    return this.turns.map(({ speaker, text }) => `${speaker}: ${text}`).join("\n");
  }

  /** What a reload keeps: everything except the replies, which the seed reproduces. */
  toJSON() {
    return { turns: this.turns, next: this.next, past: this.past.map((step) => ({ ...step, shown: null })) };
  }
}

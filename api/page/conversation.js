/** The conversation of two speakers and every step back from it: plain data, no page. */

export const SPEAKERS = ["A", "B"];

export const otherThan = (speaker) => SPEAKERS[1 - SPEAKERS.indexOf(speaker)];

/** One line as the service reads it: no control characters, no lone surrogates, single spaces. */
export function tidy(text) {
  const whole = text.toWellFormed ? text.toWellFormed() : text;
  return whole.replace(/[\s\p{Cc}]+/gu, " ").trim();
}

/** Whether a person can see anything of the text. */
export const visible = (text) => /[^\p{Cc}\p{Cf}\p{Cs}\p{Z}]/u.test(text);

/** Characters as the service counts them: code points, not UTF-16 units. */
export const length = (text) => [...text].length;

export class Conversation {
  /**
   * @param {object} stored what `toJSON` gave, or nothing
   */
  constructor({ turns = [], next = SPEAKERS[0], past = [] } = {}) {
    this.turns = turns; // {speaker, text, picked}, oldest first
    this.next = next; // who speaks next
    this.past = past; // a step back each, newest last: {next, shown} of a turn, with `turns` too of a new start
  }

  /** The next speaker says the text; `shown` is what was on offer, for the way back. */
  say(text, { picked = false, shown = null } = {}) {
    this.past.push({ next: this.next, shown });
    this.turns.push({ speaker: this.next, text, picked });
    this.next = otherThan(this.next);
  }

  /** Empty it; the way back leads here too. */
  restart(shown) {
    this.past.push({ next: this.next, shown, turns: this.turns });
    this.turns = [];
    this.next = SPEAKERS[0];
  }

  /** Take the last step back: `{shown, turn}`, the turn that was taken back or null after a new start. */
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

  /** For a person to read: one line a turn. */
  toString() {
    return this.turns.map(({ speaker, text }) => `${speaker}: ${text}`).join("\n");
  }

  /** What is kept over a reload: all but the replies that were on offer, which the seed brings back. */
  toJSON() {
    return { turns: this.turns, next: this.next, past: this.past.map((step) => ({ ...step, shown: null })) };
  }
}

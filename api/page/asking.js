/** One question at a time: an overtaken one is aborted, a busy service is asked again, a failure is told. */

const RETRIES = 5; // of a busy service, before the person is asked

const ADVICE = {
  unreachable: "Check the connection; nothing that you wrote is lost.",
  busy: "Try again in a while; nothing that you wrote is lost.",
};

export class Asking {
  /**
   * @param {import("./service.js").Service} service
   * @param {import("./notices.js").Notices} notices
   */
  constructor(service, notices) {
    Object.assign(this, { service, notices, busy: 0 });
    this.current = new AbortController();
    addEventListener("online", () => this.lost?.());
  }

  /** Give up what is being asked, and what would be asked again. */
  stop() {
    this.current.abort();
    clearTimeout(this.timer);
    this.lost = null;
  }

  /**
   * The service's answer to a body of POST /respond, in place of whatever was being asked.
   *
   * Null when it was overtaken, or failed: that was told then, unless `settled(error)` has seen to it.
   * `again` asks anew.
   */
  async answer(body, again, settled) {
    this.stop();
    const { signal } = (this.current = new AbortController());
    try {
      const answer = await this.service.respond(body, signal);
      if (signal.aborted) return null;
      this.solved();
      return answer;
    } catch (error) {
      if (!signal.aborted && !settled(error)) this.tell(error, again);
      return null;
    }
  }

  solved() {
    this.busy = 0;
    this.lost = null;
    this.notices.solved();
  }

  /** Tell a failure in plain words, and how to go on. */
  tell(error, again) {
    if (error.kind === "busy" && this.busy < RETRIES) {
      this.busy += 1;
      this.timer = setTimeout(again, error.retryAfter * 1000);
      const when = error.retryAfter === 1 ? "1 second" : `${error.retryAfter} seconds`;
      this.notices.problem(`${error.message} Asking again in ${when}.`, "Ask now", again);
      return;
    }
    this.busy = 0;
    if (error.kind === "unreachable") this.lost = again; // until the browser is online again
    if (!error.kind) console.error(error); // a fault of this page
    const words = error.kind ? [error.message, ADVICE[error.kind] ?? ""] : ["Something went wrong on this page."];
    this.notices.problem(words.join(" ").trim(), error.kind === "key" ? "Give a key" : "Try again", again);
  }
}

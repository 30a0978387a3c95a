/** One request at a time: a new one aborts the old one; a busy service is asked again; a failure is shown. */

const RETRIES = 5; // of a busy service, before the user has to try again

const ADVICE = {
  unreachable: "Check your connection. Your text is not lost.",
  busy: "Try again later. Your text is not lost.",
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

  /** Abort the current request and any planned retry. */
  stop() {
    this.current.abort();
    clearTimeout(this.timer);
    this.lost = null;
  }

  /**
   * The service's answer to a body of POST /respond, with the milliseconds that it `took`; aborts the request before it.
   *
   * Null if a later request replaced this one, or if it failed: then the failure is shown, unless `settled(error)`
   * has handled it. `again` repeats the request.
   */
  async answer(body, again, settled) {
    this.stop();
    const { signal } = (this.current = new AbortController());
    const began = performance.now();
    try {
      const answer = await this.service.respond(body, signal);
      if (signal.aborted) return null;
      this.solved();
      return { ...answer, took: performance.now() - began };
    } catch (error) {
      if (!signal.aborted && !settled(error)) this.report(error, again);
      return null;
    }
  }

  solved() {
    this.busy = 0;
    this.lost = null;
    this.notices.solved();
  }

  /** Show a failure in plain words, and what to do next. */
  report(error, again) {
    if (error.kind === "busy" && this.busy < RETRIES) {
      this.busy += 1;
      this.timer = setTimeout(again, error.retryAfter * 1000);
      const when = error.retryAfter === 1 ? "1 second" : `${error.retryAfter} seconds`;
      this.notices.problem(`${error.message} Trying again in ${when}.`, "Try now", again);
      return;
    }
    this.busy = 0;
    if (error.kind === "unreachable") this.lost = again; // until the browser is online again
    if (!error.kind) console.error(error); // an error in this page's code
    const words = error.kind ? [error.message, ADVICE[error.kind] ?? ""] : ["Something went wrong on this page."];
    this.notices.problem(words.join(" ").trim(), error.kind === "key" ? "Enter a key" : "Try again", again);
  }
}

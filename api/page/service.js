/** Requests to the HTTP service, which can be aborted, and their failures in plain words. */

const KEY = "dialog-cvae-key";
const BUSY = {
  "/problems/not-loaded": "The model is still being loaded.",
  "/problems/answer-too-slow": "The answer took too long.",
};
const PATIENCE_MS = 90_000; // well above the service's own limit

/** A failure whose message is shown to the user. */
export class Problem extends Error {
  /**
   * @param {"unreachable"|"busy"|"key"|"refused"|"missing"|"failed"} kind
   * @param {string} message plain words
   * @param {{retryAfter?: number, fields?: {loc: (string|number)[], msg: string}[]}} more seconds to wait; invalid fields
   */
  constructor(kind, message, { retryAfter = 0, fields = [] } = {}) {
    super(message);
    Object.assign(this, { kind, retryAfter, fields });
  }
}

export class Service {
  /**
   * @param {(rejected: boolean) => Promise<string|null>} askForKey asks the user; null: the user cancelled
   */
  constructor(askForKey) {
    this.askForKey = askForKey;
    this.asked = null; // several requests without a key ask only once
    this.cancelled = 0; // how often the user gave none: requests that began before do not ask again
  }

  /** A model by name, or the default for null. */
  model(name) {
    return this.#json(`model${query(name)}`);
  }

  async topics(name) {
    return (await this.#json(`topics${query(name)}`)).topics;
  }

  get hasKey() {
    return keptKey() !== null;
  }

  /** Candidates for a request of POST /respond. */
  respond(body, signal) {
    return this.#json("respond", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
  }

  async #json(path, options = {}) {
    const { cancelled } = this;
    for (;;) {
      const key = keptKey();
      const response = await reach(path, options, key);
      if (response.status === 401) {
        await this.#newKey(key, cancelled, options.signal);
        continue;
      }
      const answer = await readJson(response);
      if (response.ok && answer !== null) return answer;
      throw problemOf(response, answer);
    }
  }

  async #newKey(refused, cancelled, signal) {
    if (keptKey() === refused) {
      const key = cancelled === this.cancelled ? await this.#ask(refused !== null) : null;
      if (key === null) throw new Problem("key", "This service requires an API key.");
      keepKey(key);
    }
    signal?.throwIfAborted();
  }

  #ask(rejected) {
    this.asked ??= this.askForKey(rejected)
      .then((key) => {
        if (key === null) this.cancelled += 1;
        return key;
      })
      .finally(() => (this.asked = null));
    return this.asked;
  }
}

const query = (name) => (name === null ? "" : `?${new URLSearchParams({ model: name })}`);

async function reach(path, options, key) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  const stop = () => patience.abort();
  options.signal?.addEventListener("abort", stop);
  const headers = { Accept: "application/json", ...options.headers, ...(key === null ? {} : { "X-API-Key": key }) };
  try {
    return await fetch(new URL(path, document.baseURI), { ...options, headers, signal: patience.signal });
  } catch (error) {
    options.signal?.throwIfAborted();
    const silent = patience.signal.aborted;
    throw new Problem("unreachable", silent ? "The service does not answer." : "The service can't be reached.");
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", stop);
  }
}

async function readJson(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}

/** The problem that a response means; `answer` is problem+json (RFC 9457), or null for any other content. */
function problemOf(response, answer) {
  const { status } = response;
  if (status === 503 || status === 429) {
    const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    return new Problem("busy", BUSY[answer?.type] ?? "The service is busy.", { retryAfter: seconds > 0 ? seconds : 2 });
  }
  if (status === 422) {
    const fields = answer?.errors ?? [];
    const why = fields.map(({ msg }) => msg).join("; ") || answer?.detail || "it gave no reason";
    return new Problem("refused", `The service refused this request: ${why}.`, { fields });
  }
  if (status === 404) return new Problem("missing", `The service has no such thing: ${answer?.detail ?? "error 404"}.`);
  if (status === 413) return new Problem("refused", "This conversation is too long for the service.");
  const reference = answer?.instance ? `, ${answer.instance}` : "";
  return new Problem("failed", `The service could not answer (error ${status}${reference}).`);
}

let unkept = null; // the key, if the browser forbids storage

function keptKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return unkept;
  }
}

function keepKey(key) {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    unkept = key;
  }
}

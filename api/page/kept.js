/** What a reload of this tab does not lose. Storage may be forbidden or full: then nothing is kept, and all else works. */

const NAME = "dialog-cvae-conversation";

/** What was kept, or an empty object. */
export function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME)) ?? {};
  } catch {
    return {};
  }
}

export function keep(state) {
  try {
    sessionStorage.setItem(NAME, JSON.stringify(state));
  } catch {
    // See above.
  }
}

/** State that survives a reload of this tab. Without storage, nothing is saved and the page still works. */

const NAME = "dialog-cvae-conversation";

/** The saved state, or an empty object. */
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

/** Keys of the whole page: Escape moves between the input field and the replies, a digit picks a reply. */

/**
 * What a key that is pressed anywhere asks for.
 *
 * @returns {{leave?: EventTarget, card?: number}} what Escape leaves; the card of a digit, from 0; neither for other keys
 */
export function shortcutOf({ key, target, ctrlKey, altKey, metaKey, isComposing }) {
  if (ctrlKey || altKey || metaKey || isComposing || document.querySelector("dialog[open]")) return {};
  if (key === "Escape") return { leave: target };
  const writing = target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio])");
  return /^[1-9]$/u.test(key) && !writing ? { card: key - 1 } : {};
}

/** What an answer of the service says, in words. `body` is the request that it answers. */

/** A candidate as the cards show it. */
export const candidate = ({ text, finish_reason }, fromMap) => ({ text, cut: finish_reason === "length", fromMap });

/** Which model answered, and how fast. */
export const answeredBy = ({ model, took }) => `${model} answered in ${(took / 1000).toFixed(took < 9950 ? 2 : 0)} s.`;

export const counted = (count) => (count === 1 ? "1 reply" : `${count || "No"} replies`);

/** Why there are fewer replies than asked for, and what of the conversation was not read; empty for neither. */
export function noteOn(answer, body) {
  const { length } = answer.responses;
  return [length < body.num_responses ? fewer(length) : "", unread(answer, body)].join(" ").trim();
}

const fewer = (count) =>
  count ? `Only ${count} different ${count === 1 ? "reply was" : "replies were"} found.` : "The model found no reply.";

function unread({ context_cut, context_used }, { context }) {
  if (!context_cut) return "";
  if (context_used < context.length) return `The model read only the last ${context_used} of ${context.length} lines.`;
  return "A line is too long for the model, which read only a part of it.";
}

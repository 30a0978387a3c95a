/** The page: connects the conversation, the service and the parts of the page. Open it first. */

import { answeredBy, candidate, counted, noteOn } from "./answers.js";
import { Asking } from "./asking.js";
import { Choices } from "./choices.js";
import { Conversation, length, tidy, visible } from "./conversation.js";
import { Copier, curlCommand, KeyDialog } from "./dialogs.js";
import { keep, recall } from "./kept.js";
import { Log } from "./log.js";
import { LatentMap, spoken } from "./map.js";
import { Notices } from "./notices.js";
import { Replies } from "./replies.js";
import { Service } from "./service.js";
import { Settings } from "./settings.js";
import { shortcutOf } from "./shortcuts.js";
import { TopicPicker } from "./topics.js";

const $ = (id) => document.getElementById(id);
const draft = $("draft");
const keys = new KeyDialog($("key-dialog"));
const service = new Service((rejected) => keys.ask(rejected));
const copier = new Copier($("copy-dialog"));
const notices = new Notices(
  {
    status: $("status"),
    announcement: $("announcement"),
    box: $("problem"),
    text: $("problem-text"),
    retry: $("problem-retry"),
  },
  draft,
);
const asking = new Asking(service, notices);
const log = new Log($("turns"));
const topics = new TopicPicker($("topic"), $("topic-list"), redraw);
const replies = new Replies(
  { section: $("replies"), title: $("replies-title"), keys: $("replies-keys"), cards: $("cards"), note: $("replies-note"), by: $("replies-by") },
  { pick, light },
);
const map = new LatentMap($("map"), $("map-place"), { ask: askFrom, light, go: (card) => replies.go(card) });
const settings = new Settings(
  {
    number: $("number"),
    numberValue: $("number-value"),
    diversity: $("diversity"),
    diversityValue: $("diversity-value"),
    seed: $("seed"),
    seedProblem: $("seed-problem"),
    newSeed: $("new-seed"),
  },
  redraw,
);
const choices = new Choices(
  { model: $("model-choice"), source: $("source-choice"), role: $("role-choice") },
  { model: () => loadModel().then(redraw), other: redraw },
);

let conversation = new Conversation();
let model = null; // the answer of GET /model
let shown = null; // the current replies: {body, candidates: {text, cut, fromMap}[], dots: {card, place, asked}[], note, by}

/** The request for replies to the current conversation. */
function requestBody() {
  const context = conversation.turns.map(({ speaker, text }) => ({ speaker: choices.nameOf(speaker), text }));
  return {
    ...choices.fields,
    context: context.slice(-(model?.limits.context ?? context.length)), // the model reads only the last ones
    ...(topics.value === null ? {} : { topic: topics.value }),
    respond_as: choices.nameOf(conversation.next),
    ...settings.fields,
    map: true,
  };
}

/** Ask for replies to the current conversation. */
async function ask() {
  if (!conversation.turns.length) return;
  const body = requestBody();
  map.rest();
  replies.wait(body.num_responses);
  const answer = await asked(body, ask);
  if (!answer) return;
  const candidates = answer.responses.map((reply) => candidate(reply, false));
  const dots = answer.responses.map(({ place }, card) => ({ card, place, asked: false })).filter(({ place }) => place);
  offer({ body, candidates, dots, note: noteOn(answer, body), by: answeredBy(answer) });
  log.reveal($("replies"));
  notices.announce(`${counted(candidates.length)} for ${conversation.next}. ${shown.note}`);
  if (!model) loadModel();
}

/** Ask for one more reply, from a place of the map. */
async function askFrom(place) {
  const from = shown;
  map.wait(place);
  const { candidates_from: _, ...body } = from.body; // a place is always the model's own
  const answer = await asked({ ...body, num_responses: 1, at: place }, () => askFrom(place));
  if (!answer || from !== shown) return;
  const [reply] = answer.responses;
  if (!reply) {
    offer(from);
    notices.say("The model found no reply at this place.");
    return;
  }
  const known = from.candidates.findIndex(({ text }) => text === reply.text);
  const card = known < 0 ? from.candidates.push(candidate(reply, true)) - 1 : known;
  from.dots.push({ card, place: reply.place ?? place, asked: true });
  offer(from);
  light(card);
  const what = known < 0 ? `reply ${card + 1}: ${reply.text}` : `reply ${card + 1} again.`;
  notices.say(`From ${spoken(place)}, ${what}`);
}

/** The service's answer; null if another request replaced this one, or if it failed: the old replies stay. */
function asked(body, again) {
  return asking.answer(body, again, (error) => {
    offer(shown);
    return refusedLine(error, body);
  });
}

/** Put a line that the service refused back into the input field; returns whether there was one. */
function refusedLine(error, body) {
  const last = body.context.length - 1;
  const fault = error.fields?.find(({ loc }) => loc[1] === "context" && loc[2] === last);
  if (!fault || !conversation.past.length || conversation.turns.at(-1).picked) return false;
  const which = draft.value ? `the line before, ${conversation.turns.at(-1).text}` : "this line";
  undo(); // even if the next line has been begun: the refused one would make every later request fail
  draftProblem(`The service refused ${which}: ${fault.msg}`);
  draft.focus();
  return true;
}

/** Show replies as cards and dots. */
function offer(what) {
  shown = what;
  replies.show(what?.candidates ?? [], what?.note, what?.by);
  if (what?.dots.length === 0) map.show(null, "This model has no map.");
  else map.show(what?.dots ?? null);
}

function light(card) {
  replies.light(card);
  map.light(card);
}

/** Settings have changed: ask for replies again. */
function redraw() {
  render();
  ask();
}

/** Add a line of the next speaker, and ask for replies by the other one. */
function say(text, picked) {
  conversation.say(text, { picked, shown });
  turned();
}

/** The conversation has changed: show it, and ask for replies unless `known` holds them. */
function turned(known = null) {
  asking.stop();
  asking.solved();
  offer(null);
  render();
  if (known && JSON.stringify(known.body) === JSON.stringify(requestBody())) offer(known);
  else ask();
}

function pick(card) {
  const candidate = shown?.candidates[card];
  if (!candidate) return;
  say(candidate.text, true);
  const typing = matchMedia("(pointer: coarse)").matches ? $("replies-title") : draft; // no keyboard on top of the replies
  typing.focus({ preventScroll: true });
}

function submit(event) {
  event.preventDefault();
  const text = tidy(draft.value);
  const limit = model?.limits.text_chars ?? Infinity;
  if (!visible(text)) return draftProblem("Write something first.");
  if (length(text) > limit) {
    return draftProblem(`This line has ${length(text)} characters, ${length(text) - limit} more than the limit.`);
  }
  draftProblem("");
  draft.value = "";
  say(text, false);
  return $("replies-title").focus({ preventScroll: true });
}

function draftProblem(text) {
  $("draft-problem").textContent = text;
  draft.setAttribute("aria-invalid", String(text !== ""));
}

function undo() {
  if (!conversation.past.length) return notices.say("There is nothing to undo.");
  const { shown: known, turn } = conversation.undo();
  if (turn && !turn.picked && !draft.value) draft.value = turn.text;
  turned(known);
  return notices.say(turn ? `Undone: \u2068${turn.text}\u2069` : "The old conversation is restored.");
}

function restart() {
  if (!conversation.turns.length) return notices.say("The conversation is already empty.");
  conversation.restart(shown);
  turned();
  draft.focus();
  return notices.say("New conversation. Undo restores the old one.");
}

async function copy(text, what) {
  if (!conversation.turns.length) return notices.say("There is nothing to copy yet.");
  return (await copier.copy(text)) && notices.say(`${what} copied.`);
}

/** Update everything that depends on the conversation, and save it for a reload. */
function render() {
  const { turns, next, past } = conversation;
  log.show(turns);
  replies.head(turns.length ? next : null);
  $("draft-label").textContent = turns.length ? `Or write what ${next} says` : `Write what ${next} says`;
  for (const radio of document.getElementsByName("next")) radio.checked = radio.value === next;
  $("undo").lastElementChild.textContent = conversation.undoesRestart ? "Restore old conversation" : "Undo last turn";
  $("undo").setAttribute("aria-disabled", String(!past.length));
  for (const id of ["restart", "copy-text", "copy-curl"]) $(id).setAttribute("aria-disabled", String(!turns.length));
  remember();
}

function remember() {
  keep({ conversation, settings, choices, topic: topics.value, draft: draft.value, numberKeys: replies.keysOn });
}

async function loadModel() {
  try {
    const name = choices.modelName;
    const [about, names] = await Promise.all([service.model(name), service.topics(name)]);
    if (name !== choices.modelName) return; // another one has been chosen meanwhile
    model = about;
    settings.limit(about);
    choices.offer(about);
    topics.offer(names, about.free_topic);
    const licence = about.licence ? `, licence ${about.licence}` : "";
    $("model").textContent = `Model: ${about.name}${licence}. Version ${about.version}, engine ${about.engine}.`;
    asking.solved();
  } catch (error) {
    if (error.kind === "missing" && choices.forgetModel()) return loadModel(); // it was served earlier
    $("model").textContent = "The model's name could not be loaded.";
    asking.report(error, loadModel);
  }
}

/** Keys of the whole page; see `shortcutOf`. */
function shortcuts(event) {
  const { leave, card } = shortcutOf(event);
  if (leave) (leave === draft && conversation.turns.length ? $("replies-title") : draft).focus();
  if (card === undefined || !replies.keysOn || !shown?.candidates[card]) return;
  event.preventDefault(); // the input field gets the focus next, and would receive the digit
  pick(card);
}

function listen() {
  $("composer").addEventListener("submit", submit);
  draft.addEventListener("keydown", (event) => {
    const composing = event.isComposing || event.keyCode === 229; // an Enter that ends a composition, in Safari
    if (event.key === "Enter" && !event.shiftKey && !composing) submit(event);
  });
  draft.addEventListener("input", () => (draftProblem(""), remember()));
  for (const radio of document.getElementsByName("next")) {
    radio.addEventListener("change", () => ((conversation.next = radio.value), redraw()));
  }
  $("undo").addEventListener("click", undo);
  $("restart").addEventListener("click", restart);
  $("copy-text").addEventListener("click", () => copy(String(conversation), "Conversation"));
  $("copy-curl").addEventListener("click", () =>
    copy(curlCommand(shown?.body ?? requestBody(), service.hasKey), "Command"),
  );
  $("number-keys").addEventListener("change", remember);
  document.addEventListener("keydown", shortcuts);
}

function restore(kept) {
  conversation = new Conversation(kept.conversation);
  settings.restore(kept.settings ?? {});
  choices.restore(kept.choices ?? {});
  topics.set(kept.topic ?? null);
  draft.value = kept.draft ?? "";
  $("number-keys").checked = kept.numberKeys ?? true;
}

listen();
try {
  restore(recall());
} catch {
  restore({}); // state that cannot be restored now could not be restored later either
}
render();
await loadModel();
ask();

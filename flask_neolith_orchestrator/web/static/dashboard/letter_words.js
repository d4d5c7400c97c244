// What went wrong with a question, and what to do about it, in sentences.
import { make } from "../client/dom.js";
import { link } from "./desk.js";

const CAUSES = {
  "model-rejected": ["The model provider refused the request.", "Check the key, the model's name and the charter, then try again."],
  "model-unavailable": ["The model could not be reached for too long.", "Look at the provider's status; try again when it answers."],
  "model-interrupted": ["The model's answers broke off, every time.", "Try again; if it stays so, choose another model in the charter."],
  "bad-charter": ["Its charter cannot be used.", "Mend the charter, then try again."],
  "over-budget": ["There is nothing left of a budget.", "Raise the limit in the charter or wait for the next period, then try again."],
  "process-died": ["Processes died while they worked on it.", "Look at the server's log before you try it again: it may be the cause."],
  "dead-letter": ["Processes died while they worked on it.", "Look at the server's log before you try it again: it may be the cause."],
  crash: ["An error in the app's own code.", "Look at the server's log, mend it, then try again."],
  deadline: ["It took longer than a turn may take.", "Ask for less at once, or raise DAEMON_TURN_TIMEOUT; then try again."],
  "too-old": ["It waited longer than questions may wait.", "See that the daemon runs, then try again."],
};

// `before` is what had gone wrong until it was tried again
export function whatWentWrong(one, before) {
  const { kind, text } = one.error ?? before ?? {};
  const [cause, todo] = CAUSES[kind] ?? [kind ? `It was given up: ${kind}.` : "Nobody noted why.", "Try again."];
  if (!["failed", "expired"].includes(one.state)) return make("span", { className: "soft" }, `Before: ${cause}`);
  const charter = ["bad-charter", "over-budget", "model-rejected", "model-interrupted"].includes(kind);
  return make("div", {},
    cause,
    make("small", {}, one.retryable ? todo : "It cannot be tried again: ask anew.", charter ? " " : null,
      charter ? link(`orchestrators/${one.orchestratorId}/edit-charter`, "Its charter") : null),
    text ? make("details", {}, make("summary", {}, "In the words of the program"), make("code", {}, text)) : null);
}

export function place(channel) {
  if (!channel) return "in a place you may not read";
  const where = channel.kind === "dm" || !channel.name ? "in a direct message" : `in #${channel.name}`;
  return channel.threadId ? `${where}, in a thread` : where;
}

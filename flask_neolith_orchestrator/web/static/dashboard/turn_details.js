// What is known of one turn: times, model, tokens, cost, the messages it answers, and its steps one by one.
import { make } from "../client/dom.js";
import { clockTime, count, dollars, duration } from "../client/time.js";
import { STATES, STEPS, wakeText } from "./words.js";

const KINDS = { resume: "Its approval", regenerate: "To be written anew", scheduled: "Its own plan" };

export function showTurn(turn, messageLink) {
  return [errorNote(turn), facts(turn, messageLink), steps(turn), deliveries(turn)].filter(Boolean);
}

function errorNote({ error, errorKind, notice, tried }) {
  if (!error && !errorKind && !notice && !tried?.length) return null;
  const said = [error ?? errorKind, notice].filter(Boolean).join(" ");
  const others = (tried ?? []).map((one) => `${one.model} did not answer (${one.error}).`).join(" ");
  return make("p", { className: error || errorKind ? "note bad" : "note" }, [said, others].filter(Boolean).join(" "));
}

function facts(turn, messageLink) {
  const { usage } = turn;
  const rows = [
    ["Turn", `${turn.id}, attempt ${turn.attempt}`],
    ["Queued", clockTime(turn.queuedAt)],
    ["Waiting", duration(turn.waitingMs)],
    ["First text after", duration(turn.firstTextMs)],
    ["Total", duration(turn.totalMs)],
    ["Ended", clockTime(turn.endedAt)],
    ["Model", turn.model ?? "–"],
    ["Model calls", count(usage.calls)],
    ["Tokens in", `${count(usage.inputTokens)} new, ${cached(usage)}`],
    ["Tokens out", count(usage.outputTokens)],
    ["Cost", cost(turn)],
    ["Charter", turn.charterVersion ? `version ${turn.charterVersion}` : "none"],
    ["Stopped because", turn.stopReason?.replaceAll("_", " ") ?? "–"],
    ["Answer", link(turn, messageLink)],
  ];
  return make(
    "dl",
    { className: "facts" },
    ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
}

function cached({ cacheReadTokens, cacheWriteTokens }) {
  return `${count(cacheReadTokens)} from cache, ${count(cacheWriteTokens)} to cache`;
}

function cost({ cost: known, unpriced }) {
  if (known === null) return unpriced ? "no price is known" : "–";
  return unpriced ? `${dollars(known)} and ${count(unpriced)} calls without a price` : dollars(known);
}

function link({ replyId, channel, state }, messageLink) {
  if (!replyId || !channel) return state === "running" ? "is being written" : "not yours to read";
  const href = messageLink
    .replace("{channel}", encodeURIComponent(channel.id))
    .replace("{message}", encodeURIComponent(replyId));
  return make("a", { href }, "Show in the channel");
}

function steps({ steps: all, usage, requester }) {
  const title = make("h3", {}, "Steps");
  if (!all.length) {
    const calls = usage.calls === 1 ? "one model call" : `${count(usage.calls)} model calls`;
    return make("div", {}, title, make("p", { className: "soft" }, `${calls}, no tools.`));
  }
  return make("div", {}, title, make("ol", { className: "steps" }, ...all.map((one) => step(one, requester))));
}

function step(one, requester) {
  const isTool = one.kind === "tool";
  const head = make(
    "div",
    { className: "bar" },
    make("strong", {}, isTool ? one.name : "Model"),
    make(
      "span",
      { className: "dot", data: { status: STEPS[one.state]?.[1] ?? one.state } },
      STEPS[one.state]?.[0] ?? one.state,
    ),
    make("span", { className: "soft" }, took(one)),
    clockTime(one.createdAt),
  );
  return make(
    "li",
    {},
    head,
    decision(one, requester),
    isTool ? block("Called with", JSON.stringify(one.arguments, null, 2)) : null,
    outcome(one, isTool),
  );
}

function took({ createdAt, endedAt, decidedAt, expiresAt, state }) {
  if (state === "waiting" && expiresAt) {
    return `until ${new Date(expiresAt).toLocaleString([], { dateStyle: "short", timeStyle: "short" })}`;
  }
  if (createdAt === endedAt) return "";
  return endedAt ? duration(Date.parse(endedAt) - Date.parse(decidedAt ?? createdAt)) : "";
}

function decision({ decidedAt, decidedBy, createdAt, state, expiresAt }, requester) {
  if (!decidedAt || !expiresAt) return null;
  const waited = duration(Date.parse(decidedAt) - Date.parse(createdAt));
  const person = decidedBy === requester.id ? requester.name : `user ${decidedBy}`;
  const who = decidedBy ? person : state === "expired" ? "nobody in time" : "the charter";
  return make("p", { className: "soft" }, `Decided by ${who} after ${waited}.`);
}

function outcome({ result, state, endedAt }, isTool) {
  if (result !== null) return block(isTool ? "Result" : "Said", result);
  if (!endedAt || !["done", "failed"].includes(state)) return null;
  return make(
    "p",
    { className: "soft" },
    isTool ? "Its result is for the person who asked." : "What it said is for those who may read the answer.",
  );
}

function block(name, text) {
  return make("details", {}, make("summary", {}, name), make("pre", { tabIndex: 0 }, text));
}

function about({ reason, outcome, attempts }) {
  return [wakeText(reason), outcome, attempts > 1 && `${attempts} attempts`].filter(Boolean).join(", ");
}

function deliveries({ deliveries: all }) {
  if (!all?.length) return null;
  const rows = all.map((one) =>
    make(
      "li",
      {},
      `${one.messageId ? `Message ${one.messageId}` : (KINDS[one.kind] ?? one.kind)}: `,
      make(
        "span",
        { className: "dot", data: { status: one.state === "answered" ? "done" : one.state } },
        STATES[one.state] ?? one.state,
      ),
      ` ${about(one)}, accepted `,
      clockTime(one.acceptedAt),
    ),
  );
  return make("div", {}, make("h3", {}, "Answers to"), make("ul", {}, ...rows));
}

// Budgets: what may be spent and is spent by an orchestrator, an organization or oneself, and on which models.
import { all, ask, query } from "../client/api.js";
import { make } from "../client/dom.js";
import { clockTime, count } from "../client/time.js";
import { doing, filter, link, watch } from "./desk.js";
import { money, period, sums } from "./budget_parts.js";
import { Rows } from "./table.js";

const $ = (id) => document.getElementById(id);
const EVERY = 10_000; // milliseconds; what a call costs is told by no event
const SELDOM = 60_000;
const FEW = 10;
const PURPOSES = { answer: "an answer", summary: "a summary" };
const ME = "person:me";
let calls = [];
let next = null;
let before = "";

const tokens = (one) => one.inputTokens + one.outputTokens + one.cacheReadTokens + one.cacheWriteTokens;
const amount = (one) => [one.name, count(one.calls), count(one.tokens), money(one)];
const models = new Rows($("models"), amount, (one) => one.name);
const days = new Rows($("days"), amount, (one) => one.name);
const rows = new Rows($("calls"), (one) => [
  clockTime(one.at),
  one.model,
  PURPOSES[one.purpose] ?? one.purpose,
  [count(one.inputTokens + one.cacheReadTokens + one.cacheWriteTokens),
    one.cacheReadTokens ? make("small", {}, `${count(one.cacheReadTokens)} from the cache`) : null],
  count(one.outputTokens),
  money({ cost: one.cost, unpriced: one.cost === null && tokens(one) ? 1 : 0, calls: 1 }),
  one.state === "reserved" ? "goes on" : one.error ? make("span", { className: "dot", data: { status: "failed" } }, one.error) : "well",
]);
rows.heading = 1;

let offered = 0;
async function offers() {
  if (Date.now() - offered < SELDOM) return; // there may be thousands
  const [me, found] = await Promise.all([ask("GET", "me"), all("orchestrators", { health: true })]);
  offered = Date.now();
  const mine = found.filter((one) => one.canManage);
  const organizations = me.organizations.filter((one) => one.manages);
  const groups = [
    ["Organizations", organizations.map((one) => [`organization:${one.id}`, one.name])],
    ["Orchestrators", mine.map((one) => [`orchestrator:${one.id}`, one.user.name])],
    ["Persons", [[ME, `${me.name} (my own questions)`]]],
  ];
  showPaused(mine.filter((one) => one.health?.paused && one.health.paused.reason !== "hours"));
  const now = JSON.stringify(groups);
  if (now === before) return;
  before = now;
  const select = $("filter").elements.of;
  const chosen = select.value || new URLSearchParams(location.search).get("of");
  select.replaceChildren(...groups.filter(([, ones]) => ones.length).map(([label, ones]) =>
    make("optgroup", { label }, ...ones.map(([value, text]) => new Option(text, value)))));
  if ([...select.options].some((one) => one.value === chosen)) select.value = chosen;
}

function showPaused(ones) {
  $("paused").hidden = !ones.length;
  $("paused").replaceChildren(make("p", {}, make("strong", {}, "Does not answer now: "),
    ...ones.flatMap((one, place) => [place ? ", " : null, link(`budgets?of=orchestrator:${one.id}`, one.user.name),
      one.health.paused.reason === "replies" ? " has given all its answers" : " has nothing left of a budget",
      one.health.paused.until ? [", until ", clockTime(one.health.paused.until)] : null].flat()).filter(Boolean), "."));
}

const WHERE = {
  orchestrator: (id) => [`orchestrators/${id}`, link(`orchestrators/${id}/edit-charter`, "Change its limits in its charter")],
  organization: (id) => [`organizations/${id}`, link(`organizations/${id}/edit-charter`, "Change the limits in the organization's charter")],
  person: () => [null, "Everybody's limit is the setting NEOLITH_PERSON_BUDGET."],
};

async function look() {
  await offers();
  const { of, days: many } = values();
  const [kind, id] = of.split(":");
  const [path, edit] = WHERE[kind](id);
  const [budget, spend, ledger] = await Promise.all([
    ask("GET", path ? `${path}/budget` : "budget"),
    path ? ask("GET", `${path}/spend${query({ days: many })}`) : null,
    kind === "orchestrator" ? ask("GET", `${path}/ledger${query({ limit: FEW })}`) : null,
  ]);
  if (of !== values().of) return again();
  $("whose").textContent = $("filter").elements.of.selectedOptions[0].textContent;
  $("edit").replaceChildren(edit);
  showPeriods(budget.periods, kind);
  showSpent(spend);
  showCalls(of, ledger);
  $("budget").hidden = false;
  return undefined;
}

let periods = "";
function showPeriods(all, kind) {
  const now = JSON.stringify([all, kind]);
  if (now === periods) return;
  periods = now;
  $("periods").replaceChildren(...all.map((one) => period(one, kind)));
}

function showSpent(spend) {
  const items = spend?.items ?? [];
  $("spent").hidden = !items.length;
  $("nothing").hidden = !spend || items.length > 0;
  models.show(sums(items, "model").sort((a, b) => Number(b.cost ?? 0) - Number(a.cost ?? 0)));
  days.show(sums(items, "day"));
}

let whose = "";
function showCalls(of, ledger) {
  const items = ledger?.items ?? [];
  const touches = of === whose && calls.length > 0 && items.some((one) => one.id === calls[0].id);
  calls = touches ? [...items, ...calls.filter((one) => !items.some(({ id }) => id === one.id))] : items;
  if (!touches) next = ledger?.next ?? null;
  whose = of;
  $("ledger").hidden = !calls.length;
  $("older").hidden = !next;
  rows.show(calls);
}

const values = filter($("filter"), () => again());
const { again, socket } = watch(["budget:threshold", "audit:added"], look);
socket?.on("budget:threshold", () => (offered = 0)); // somebody may be paused by now
$("older").addEventListener("click", () => doing($("older"), async () => {
  const page = await ask("GET", `orchestrators/${whose.split(":")[1]}/ledger${query({ limit: FEW, before: next })}`);
  calls.push(...page.items);
  next = page.next;
  $("older").hidden = !next;
  rows.show(calls);
}));
setInterval(() => {
  if (!document.hidden) again();
}, EVERY);

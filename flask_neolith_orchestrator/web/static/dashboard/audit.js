// The audit log: who did what, filtered, page by page; new deeds appear on top.
import { all, ask, query } from "../client/api.js";
import { make } from "../client/dom.js";
import { clockTime } from "../client/time.js";
import { deed, details } from "./audit_words.js";
import { doing, filter, link, offer, watch } from "./desk.js";
import { Rows } from "./table.js";

const $ = (id) => document.getElementById(id);
const FEW = 50;
const EVERY = 15_000; // milliseconds; what is done on the command line is told by no event
const people = new Map(); // user id -> name, of those who have done something
let deeds = [];
let next = null;
let shown = "";

const rows = new Rows($("deeds"), (one) => [
  clockTime(one.at),
  [one.actor.name || { cli: "somebody on the command line", system: "the app itself" }[one.actor.kind] || "somebody",
    one.actor.kind === "key" ? make("small", {}, "by an API key") : null],
  [deed(one), one.orchestrator ? make("small", {}, link(`orchestrators/${one.orchestrator.id}`, one.orchestrator.name ?? "one that is gone")) : null],
  details(one),
]);
rows.heading = -1;

// a day is the viewer's own, from its midnight to the next
function asked() {
  const { from, to, ...rest } = values();
  const day = (text, more) => {
    const at = new Date(`${text}T00:00`);
    at.setDate(at.getDate() + more);
    return at.toISOString();
  };
  return { ...rest, from: from && day(from, 0), to: to && day(to, 1), limit: FEW };
}

async function look() {
  const wanted = query(asked());
  const page = await ask("GET", `audit${wanted}`);
  if (wanted !== query(asked())) return again(); // the filter has changed meanwhile
  const [newest] = deeds;
  const touches = wanted === shown && newest && page.items.some((one) => one.id === newest.id);
  // what is further down stays; it never changes
  deeds = touches ? [...page.items, ...deeds.filter((one) => !page.items.some(({ id }) => id === one.id))] : page.items;
  if (!touches) next = page.next;
  shown = wanted;
  show();
  return undefined;
}

function show() {
  rows.show(deeds);
  for (const { actor } of deeds) if (actor.id) people.set(actor.id, actor.name);
  const fixed = [["cli", "the command line"], ["system", "the app itself"]];
  offer($("filter").elements.actor, [...fixed, ...[...people].sort((a, b) => a[1].localeCompare(b[1]))]);
  $("list").hidden = !deeds.length;
  $("empty").hidden = deeds.length > 0;
  $("none").textContent = Object.keys(values()).length
    ? "No deed fits the filter." : "Starts, charters, keys, approvals and more appear here when somebody does something.";
  $("older").hidden = !next;
}

const values = filter($("filter"), () => again());
const { again } = watch(["audit:added"], look);
$("older").addEventListener("click", () => doing($("older"), async () => {
  const page = await ask("GET", `audit${query({ ...asked(), cursor: next })}`);
  deeds.push(...page.items);
  next = page.next;
  show();
}));
setInterval(() => {
  if (!document.hidden) again();
}, EVERY);
all("orchestrators").then((ones) => {
  const mine = ones.filter((one) => one.canManage);
  offer($("filter").elements.orchestratorId, mine.map((one) => [one.id, one.user.name]));
}, () => {}); // the list says it already when nobody answers

// The processes that run turns: who lives, how much each has to do, and what to do where one is silent.
import { ask } from "../client/api.js";
import { make } from "../client/dom.js";
import { clockTime, count, duration } from "../client/time.js";
import { watch } from "./desk.js";
import { Rows } from "./table.js";

const $ = (id) => document.getElementById(id);
const EVERY = 5000; // milliseconds; a sign of life is no event

const rows = new Rows($("nodes"), (one) => [
  [make("code", {}, one.name), make("small", {}, one.isThis ? "answers this page" : "")],
  make("span", { className: "dot", data: { status: one.alive ? "running" : "failed" } }, one.alive ? "alive" : "not heard of"),
  load(one),
  one.version ?? "unknown",
  one.engine ?? "unknown",
  clockTime(one.startedAt),
  [clockTime(one.lastSeenAt), make("small", {}, one.alive ? "" : one.silent)],
]);

function load({ runningTurns, threads }) {
  const text = threads === null ? `${count(runningTurns)} turns` : `${count(runningTurns)} of ${count(threads)} turns`;
  if (threads === null) return text;
  return [make("progress", { value: runningTurns, max: Math.max(threads, 1), "aria-label": text }), make("small", {}, text)];
}

async function look() {
  const nodes = (await ask("GET", "nodes")).items;
  const alive = nodes.filter((one) => one.alive);
  const sum = (name) => alive.reduce((all, one) => all + (one[name] ?? 0), 0);
  $("alive").textContent = `${alive.length} of ${nodes.length}`;
  $("running").textContent = count(sum("runningTurns"));
  $("places").textContent = alive.some((one) => one.threads === null) ? "unknown" : count(sum("threads"));
  $("stale-help").hidden = alive.length === nodes.length;
  $("versions-help").hidden = new Set(alive.map((one) => one.version)).size < 2;
  for (const id of ["list", "sums"]) $(id).hidden = !nodes.length;
  $("empty").hidden = nodes.length > 0;
  rows.show(nodes.map((one) => ({ ...one, silent: `${duration(Date.now() - new Date(one.lastSeenAt))} ago` })));
}

const { again } = watch([], look);
setInterval(() => {
  if (!document.hidden) again();
}, EVERY);

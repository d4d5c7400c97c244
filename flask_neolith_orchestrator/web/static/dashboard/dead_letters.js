// Dead letters: what was given up and why, tried again one by one or several at once, and what became of it.
import { all, ask } from "../client/api.js";
import { atMostEvery, button, make } from "../client/dom.js";
import { clockTime, duration } from "../client/time.js";
import { doing, filter, link, offer, some, watch } from "./desk.js";
import { asked } from "./dialog.js";
import { place, whatWentWrong } from "./letter_words.js";
import { Rows } from "./table.js";

const $ = (id) => document.getElementById(id);
const MOST = 300;
const AGAIN = 1500; // milliseconds
const FEW = 5; // so many are read one by one, more as a list
const DEAD = ["failed", "expired"];
const WORKING = ["waiting", "running", "parked"];
const WORDS = {
  waiting: ["waits to be tried", "parked"], running: ["is being answered", "running"], parked: ["waits for approval", "parked"], answered: ["answered", "done"],
  failed: ["failed", "failed"], expired: ["expired", "expired"], refused: ["refused", "failed"], cancelled: ["cancelled", "stopped"],
};
const chosen = new Set();
const followed = new Set(); // tried again here: they stay, to show what becomes of them
const causes = new Map(); // id -> what had gone wrong before it was tried again
const ended = new Map(); // of these what has been answered or called off: nothing changes that but another try
const troubles = new Map(); // id -> why it could not be tried again
let letters = [];
let trying = 0; // how many are about to be tried again

const rows = new Rows($("letters"), (one) => [
  choice(one),
  [one.author.name, make("small", {}, place(one.channel))],
  link(`orchestrators/${one.orchestratorId}`, one.orchestrator.name),
  whatWentWrong(one, causes.get(one.id)),
  String(one.attempts),
  [clockTime(one.acceptedAt), make("small", {}, one.endedAt ? `${DEAD.includes(one.state) ? "given up" : WORDS[one.state]?.[0] ?? "ended"} after ${duration(one.ageMs)}` : `${duration(one.ageMs)} ago`)],
  state(one),
]);
rows.heading = 1;

function choice(one) {
  if (!one.retryable) return "";
  const box = make("input", { type: "checkbox", checked: chosen.has(one.id), data: { action: "choose" } });
  box.setAttribute("aria-label", `Choose the question of ${one.author.name} to ${one.orchestrator.name}`);
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(one.id);
    else chosen.delete(one.id);
    showChosen();
  });
  return box;
}

function state(one) {
  const [word, status] = WORDS[one.state] ?? [one.state, ""];
  const again = one.followed && DEAD.includes(one.state) ? ` again${one.trouble ? "" : ", see what went wrong"}` : "";
  const parts = [make("span", { className: "dot", data: { status } }, `${word}${again}`)];
  if (one.trouble) parts.push(make("small", { className: "problem" }, one.trouble));
  if (one.retryable) parts.push(act(one, "retry", "Try again", () => retry([one])));
  if (WORKING.includes(one.state)) parts.push(act(one, "cancel", "Cancel", () => cancel(one)));
  return make("div", { className: "acts" }, ...parts);
}

function act(one, action, text, onclick) {
  const made = button(action, text, onclick);
  made.setAttribute("aria-label", `${text}: the question of ${one.author.name} to ${one.orchestrator.name}`);
  return made;
}

async function retry(ones) {
  trying += ones.length;
  for (const one of ones) {
    try {
      causes.set(one.id, one.error);
      await ask("POST", `deliveries/${one.id}/retry`);
      followed.add(one.id);
      ended.delete(one.id);
      troubles.delete(one.id);
    } catch (error) {
      troubles.set(one.id, error.message);
    }
    chosen.delete(one.id);
    soon();
    trying -= 1;
  }
  await again();
}

async function cancel(one) {
  const sure = await asked({
    title: "Cancel this question?",
    body: [make("p", {}, `${one.orchestrator.name} does not answer ${one.author.name} then.`)],
    confirm: "Cancel the question",
    harm: true,
  });
  if (!sure) return;
  followed.add(one.id);
  await doing(null, () => ask("POST", `deliveries/${one.id}/cancel`).then(() => undefined));
  await again();
}

function showChosen() {
  const can = letters.filter((one) => one.retryable);
  for (const id of chosen) if (!can.some((one) => one.id === id)) chosen.delete(id);
  $("all").checked = chosen.size > 0 && chosen.size === can.length;
  $("all").indeterminate = chosen.size > 0 && chosen.size < can.length;
  $("all").disabled = !can.length;
  $("chosen").textContent = chosen.size ? `${chosen.size} of ${can.length} chosen` : "Choose all";
  $("retry-chosen").disabled = !chosen.size;
  for (const box of document.querySelectorAll("[data-action=choose]")) box.checked = chosen.has(box.closest("tr").dataset.key);
}

async function withFollowed(found) {
  const rest = [...followed].filter((id) => !ended.has(id) && !found.some((one) => one.id === id));
  const open = rest.length + trying > FEW ? (await some("deliveries", { state: WORKING.join() }, MOST)).items : [];
  const read = (id) => ask("GET", `deliveries/${id}`).catch((error) => {
    if (error.status === 404) followed.delete(id); // forgotten meanwhile
    return null;
  });
  const more = (await Promise.all(rest.map((id) => open.find((one) => one.id === id) ?? read(id)))).filter(Boolean);
  for (const one of more) if (![...DEAD, ...WORKING].includes(one.state)) ended.set(one.id, one);
  for (const one of found) ended.delete(one.id);
  const both = [...found, ...more, ...[...ended.values()].filter((one) => !more.includes(one))];
  return both.sort((a, b) => b.acceptedAt.localeCompare(a.acceptedAt) || Number(b.id) - Number(a.id))
    .map((one) => ({ ...one, followed: followed.has(one.id), trouble: troubles.get(one.id) }));
}

let timer;
async function look() {
  const { state: only, orchestratorId, since } = values();
  const begin = since ? Date.now() - Number(since) * 3_600_000 : 0;
  const found = await some("deliveries", { state: only || DEAD.join(), orchestratorId }, MOST,
    (one) => new Date(one.acceptedAt) < begin);
  letters = await withFollowed(found.items);
  $("list").hidden = !letters.length;
  $("empty").hidden = letters.length > 0;
  const isNarrow = only || orchestratorId || since;
  $("well").textContent = isNarrow ? "None of these" : "All is well";
  $("none").textContent = isNarrow ? "No dead letter fits the filter." : "No question was given up. When one is, it appears here.";
  $("more").hidden = !found.more;
  rows.show(letters);
  showChosen();
  clearTimeout(timer);
  if (letters.some((one) => one.followed && WORKING.includes(one.state))) timer = setTimeout(again, AGAIN);
}

const values = filter($("filter"), () => again());
const { again } = watch(["delivery:dead", "audit:added"], look);
const soon = atMostEvery(AGAIN, again);
$("all").addEventListener("change", () => {
  chosen.clear();
  if ($("all").checked) for (const one of letters) if (one.retryable) chosen.add(one.id);
  showChosen();
});
$("retry-chosen").addEventListener("click", () => retry(letters.filter((one) => chosen.has(one.id))));
all("orchestrators").then((ones) => {
  const mine = ones.filter((one) => one.canManage);
  offer($("filter").elements.orchestratorId, mine.map((one) => [one.id, one.user.name]));
}, () => {}); // the list says it already when nobody answers

// The charter editor: a form and a text of one charter, checked while one types, saved as a new version.
import { ask } from "../client/api.js";
import { make, showTrouble } from "../client/dom.js";
import { settled } from "./charter_conflict.js";
import { Draft } from "./charter_draft.js";
import { Form } from "./charter_form.js";
import { flat } from "./charter_paths.js";
import { list, showChanges, showReport } from "./charter_report.js";
import { Versions } from "./charter_versions.js";
import { doing, say, watch } from "./desk.js";
import { asked } from "./dialog.js";

const $ = (id) => document.getElementById(id);
const path = $("editor").dataset.charter;
const form = new Form($("form"), () => draft.edit({ fields: form.fields }));
const draft = new Draft(path, { checked: show, changed: edited, failed });
const versions = new Versions(path, restore);

function edited() {
  say(""); // what was said of the last save is old
  showTrouble($("notice"), "");
  showState();
}

function failed(error) {
  if (error.name !== "AbortError") showTrouble($("notice"), error.message);
}

// all that depends on what the server says of the draft
function show(report = draft.report) {
  showState();
  const rest = form.showProblems(draft.mode === "form" ? report.problems : []);
  form.showHolds($("editor").dataset.parent ? report.inForce : null);
  const others = form.others([...flat(draft.fields).keys()]);
  $("others").hidden = !others.length;
  $("others").textContent = `Besides, the text has: ${others.join(", ")}. It stays as it is.`;
  const bad = report.problems.length;
  if (draft.mode !== "form" && bad) $("text").setAttribute("aria-invalid", "true");
  else $("text").removeAttribute("aria-invalid");
  $("state").textContent = bad ? `${bad === 1 ? "1 problem" : `${bad} problems`}` : "";
  showReport($("checked"), report, { where: goTo, busy: draft.pending });
  showChanges($("changes-card"), draft.original, draft.fields);
  if ($("prompt")) $("prompt").textContent = report.prompt ?? "There is none while there are problems.";
  return rest;
}

function showState() {
  const dirty = draft.isDirty;
  $("discard").disabled = !dirty && !draft.reason;
  $("version").textContent = `${draft.base ? `Version ${draft.base}` : "Not saved yet"}${dirty ? " · unsaved changes" : ""}`;
}

function showMode() {
  for (const one of document.querySelectorAll("[data-mode]")) {
    one.setAttribute("aria-pressed", String(one.dataset.mode === draft.mode));
  }
  $("as-form").hidden = draft.mode !== "form";
  $("as-text").hidden = draft.mode === "form";
  if (draft.mode === "form") form.fill(draft.fields);
  else $("text").value = draft.text;
  $("reason").value = draft.reason;
  show();
}

function goTo({ at, line }) {
  if (draft.mode === "form") return form.focus(at);
  const lines = $("text").value.split("\n");
  const begin = lines.slice(0, (line ?? 1) - 1).join("\n").length + (line > 1 ? 1 : 0);
  $("text").focus();
  $("text").setSelectionRange(begin, begin + (lines[(line ?? 1) - 1] ?? "").length);
  $("text").scrollTop = Math.max(0, (line ?? 1) - 5) * parseFloat(getComputedStyle($("text")).lineHeight);
}

function unreadable() {
  goTo(draft.report.problems[0]);
  throw new Error("The text cannot be read yet; mend it first.");
}

async function save(confirm = false) {
  const report = await draft.settle();
  if (report.problems.length) {
    goTo(report.problems[0]);
    throw new Error("It cannot be saved yet: see the problems under Check.");
  }
  if (!draft.isDirty) return say("Nothing has changed, so there is nothing to save.");
  await written("PUT", path, { charter: draft.charter, version: draft.base, reason: draft.reason }, confirm, draft.typed);
}

function restore(version, reason) {
  return doing($("save"), () => written("POST", `${path}/activate`, { version, expected: draft.base, reason }, false));
}

// a new version, after the questions that it needs
async function written(method, address, body, confirm, sent) {
  try {
    const saved = await ask(method, address, { ...body, confirm });
    await take(saved, method === "PUT", sent);
    say(`Saved as version ${saved.version}. It holds from the next message on.`);
  } catch (error) {
    if (error.code === "unconfirmed" && !confirm) {
      if (await meant(error.weakenings)) return written(method, address, body, true, sent);
      return say("Nothing was saved.");
    }
    if (error.code === "conflict") return await look();
    throw error;
  }
  return undefined;
}

async function meant(weakenings) {
  return asked({
    title: "This makes it less safe",
    body: [make("p", {}, "From the next message on:"), list(weakenings.map((one) => one.text)),
      make("p", {}, "Only confirm what you mean: nobody is asked again.")],
    confirm: "Save it all the same",
    harm: true,
  });
}

async function take(saved, isMine, sent) {
  const report = await ask("POST", `${path}/validate`, { charter: saved.charter });
  if (!isMine && saved.version === draft.base) return undefined; // it was taken meanwhile
  if (draft.isDirty && !isMine) return news(saved, report.fields);
  draft.begin(saved, report, sent);
  $("news").hidden = true;
  showMode();
  return versions.look();
}

// somebody has saved another version while something here is not saved
async function news(saved, theirs) {
  const who = saved.authorId === document.body.dataset.me ? "You, in another tab," : saved.authorName ?? "The app";
  const merge = make("button", { type: "button", onclick: () => doing(merge, () => compare(saved, theirs, who)) }, "Compare with yours");
  $("news").replaceChildren(make("p", {}, `${who} saved version ${saved.version}${saved.reason ? `: ${saved.reason}` : ""}. `
    + "What you have typed is still here."), merge);
  $("news").hidden = false;
  await versions.look();
}

async function compare(saved, theirs, who) {
  await draft.settle();
  if (draft.mode !== "form" && !draft.report.fields) unreadable();
  const fields = await settled({ base: draft.original, theirs, mine: draft.fields, who, version: saved.version });
  if (!fields) return;
  await draft.rebase(saved, theirs, fields);
  $("news").hidden = true;
  showMode();
  say("Both are together now. Save when it is right.");
}

async function look() {
  const saved = await ask("GET", path);
  if (draft.base === undefined) return begin(saved);
  if (saved.version !== draft.base) await take(saved, false);
}

async function begin(saved) {
  const kept = draft.kept();
  const report = await ask("POST", `${path}/validate`, { charter: saved.charter });
  if (kept) {
    Object.assign(draft, kept, { report, pending: true });
    await draft.settle();
    say("What you had not saved is here again.");
    if (kept.base !== saved.version) await news(saved, report.fields);
  } else {
    draft.begin(saved, report);
  }
  showMode();
  $("editor").hidden = false;
  await versions.look();
}

for (const one of document.querySelectorAll("[data-mode]")) {
  one.addEventListener("click", () => doing(one, async () => {
    if (!(await draft.show(one.dataset.mode))) unreadable();
    showMode();
  }));
}
$("text").addEventListener("input", () => draft.edit({ text: $("text").value }));
$("reason").addEventListener("input", () => {
  draft.reason = $("reason").value;
  draft.keep();
  showState();
});
$("save").addEventListener("click", () => doing($("save"), () => save()));
$("discard").addEventListener("click", async () => {
  if (!(await asked({ title: "Discard what you have not saved?", confirm: "Discard it", harm: true }))) return;
  await doing($("discard"), async () => {
    await take(await ask("GET", path), true);
    return "This is what is saved.";
  });
});
let leaves = true;
document.addEventListener("neolith:login-ended", () => (leaves = false)); // it is kept in this tab
addEventListener("beforeunload", (event) => {
  if (leaves && draft.isDirty) event.preventDefault();
});
watch(["audit:added"], look);

// API keys: one's own, made, shown once, revoked. A key is only ever in the dialog that shows it.
import { ask } from "../client/api.js";
import { button, make } from "../client/dom.js";
import { clockTime } from "../client/time.js";
import { doing, watch } from "./desk.js";
import { asked } from "./dialog.js";
import { describeScopes, newKey } from "./key_dialogs.js";
import { Rows } from "./table.js";

const $ = (id) => document.getElementById(id);
const STATES = { live: "active", expired: "expired", revoked: "revoked" };
let keys = [];

const rows = new Rows($("keys"), (key) => [
  [key.label, make("small", {}, make("code", {}, `${key.prefix}…`))],
  describeScopes(key.scopes),
  clockTime(key.createdAt),
  key.usedAt ? clockTime(key.usedAt) : "never",
  key.expiresAt ? clockTime(key.expiresAt) : "never",
  make("span", { className: "dot", data: { status: key.state === "live" ? "done" : "stopped" } }, STATES[key.state]),
  key.state === "live" ? revoker(key) : "",
]);

function revoker(key) {
  const element = button("revoke", "Revoke", () => revoke(key, element));
  element.classList.add("harm");
  element.setAttribute("aria-label", `Revoke ${key.label}`);
  return element;
}

async function revoke(key, element) {
  const sure = await asked({
    title: `Revoke “${key.label}”?`,
    body: [make("p", {}, "Programs that use it are refused from now on, and their connections are cut. This cannot be undone.")],
    confirm: "Revoke it",
    harm: true,
  });
  if (!sure) return;
  await doing(element, async () => {
    await ask("DELETE", `keys/${key.id}`);
    return `“${key.label}” opens nothing any more.`;
  });
  await again();
  $("new-key").focus(); // the button is gone with its key
}

function state(key) {
  if (key.revokedAt) return "revoked";
  return key.expiresAt && new Date(key.expiresAt) <= new Date() ? "expired" : "live";
}

function show() {
  const live = keys.filter((key) => key.state === "live");
  $("past").hidden = live.length === keys.length;
  $("empty").hidden = keys.length > 0;
  $("list").hidden = keys.length === 0;
  rows.show($("all").checked || !live.length ? keys : live);
}

const { again } = watch(["audit:added"], async () => {
  const found = (await ask("GET", "keys")).items;
  keys = found.map((key) => ({ ...key, state: state(key) }));
  show();
});
$("all").addEventListener("change", show);
$("new-key").addEventListener("click", async () => {
  if (await newKey()) await again();
});

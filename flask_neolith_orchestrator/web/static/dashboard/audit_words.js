// Deeds of the audit log as sentences, and what else is known of them.
import { make } from "../client/dom.js";
import { link } from "./desk.js";

const DEEDS = {
  "orchestrator.started": "started the daemon",
  "orchestrator.stopped": "stopped the daemon",
  "orchestrator.restarted": "restarted the daemon",
  "orchestrator.changed": "changed the entry",
  "charter.saved": "saved a charter",
  "charter.activated": "went back to an older charter",
  "key.created": "made an API key",
  "key.revoked": "revoked an API key",
  "delivery.retried": "tried a dead letter again",
  "delivery.cancelled": "cancelled a question",
  "approval.approved": "approved what a tool shall do",
  "approval.denied": "denied what a tool should do",
  "channel.member-added": "added somebody to a channel",
  "channel.member-removed": "took somebody out of a channel",
};

export function deed({ action, details, orchestrator, organizationId }) {
  const said = DEEDS[action] ?? action;
  if (action === "charter.saved") return `${orchestrator || !organizationId ? said : "saved the organization's charter"}, version ${details.version}`;
  if (action === "charter.activated") return `went back to version ${details.again ?? "?"}${orchestrator ? "" : " of the organization's charter"}, as version ${details.version}`;
  if (action.startsWith("key.") && details.label) return `${said}: ${details.label}`;
  return said;
}

export function details(one) {
  const found = Object.entries(one.details ?? {}).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value]);
  if (one.subject) found.push([one.subject.kind, one.subject.id]);
  found.push(["action", one.action], ["entry", one.id]);
  if (one.actor.keyId) found.push(["by the key", one.actor.keyId]);
  const list = make("dl", { className: "pairs" });
  for (const [name, value] of found) {
    if (value === null || value === "") continue;
    list.append(make("dt", {}, name), make("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value)));
  }
  const reason = one.details?.reason;
  const charter = one.action.startsWith("charter.") ? charterOf(one) : null;
  return make("div", {}, reason ? make("span", {}, `“${reason}” `) : null, charter,
    make("details", {}, make("summary", {}, "More"), list));
}

function charterOf({ orchestrator, organizationId }) {
  if (orchestrator?.name) return link(`orchestrators/${orchestrator.id}/edit-charter`, "its versions");
  return organizationId && !orchestrator ? link(`organizations/${organizationId}/edit-charter`, "its versions") : null;
}

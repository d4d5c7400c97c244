// All charters that one may edit: of each organization, and of its orchestrators.
import { all, ask } from "../client/api.js";
import { make } from "../client/dom.js";
import { link, watch } from "./desk.js";

const box = document.getElementById("organizations");
let before = "";

function row(one) {
  return make("tr", {},
    make("th", { scope: "row" }, link(`orchestrators/${one.id}/edit-charter`, one.user.name), make("small", {}, `@${one.handle}`)),
    make("td", {}, one.role || "–"),
    make("td", {}, one.discipline || "–"));
}

function card({ id, name, manages }, ones) {
  const heading = make("h2", { id: `organization-${id}` }, name);
  const edit = manages ? link(`organizations/${id}/edit-charter`, "Edit the organization's charter") : null;
  const head = ["Orchestrator", "Role", "Discipline"].map((text) => make("th", { scope: "col" }, text));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...ones.map(row)));
  return make("section", { className: "card", "aria-labelledby": heading.id },
    make("div", { className: "bar apart" }, heading, edit),
    ones.length ? table : make("p", { className: "empty" }, "It has no orchestrators yet."));
}

watch(["audit:added"], async () => {
  const [me, found] = await Promise.all([ask("GET", "me"), all("orchestrators")]);
  const mine = found.filter((one) => one.canManage);
  const organizations = me.organizations.filter(({ id, manages }) => manages || mine.some((one) => one.organizationId === id));
  const now = JSON.stringify([organizations, mine.map(({ id, handle, role, discipline, user }) => [id, handle, role, discipline, user])]);
  document.getElementById("empty").hidden = organizations.length > 0;
  if (now === before) return;
  before = now;
  const focused = document.activeElement?.getAttribute("href");
  box.replaceChildren(...organizations.map((one) => card(one, mine.filter(({ organizationId }) => organizationId === one.id))));
  if (focused) box.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
});

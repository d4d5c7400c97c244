// Dialogs: a new channel, a new direct message, and who is in a channel.
import { ask } from "/neolith/static/client/api.js";
import { button, make } from "/neolith/static/client/dom.js";
import { dot } from "/neolith/static/client/presence.js";
import { avatar } from "./avatar.js";
import { openDialog } from "./dialog.js";
import { openDirect } from "./profile.js";

const { me, organization, channels } = document.body.dataset;

function face(person) {
  const about = person.isOrchestrator ? [`@${person.handle}`, person.role].filter(Boolean).join(" · ") : (person.role ?? "");
  return [
    avatar(person),
    make("span", { className: "titles" }, make("b", {}, person.name), make("small", {}, about)),
    person.status ? dot(person.status) : null,
  ];
}

// a list that is drawn by `item(person)`, with a field above it that narrows it down
function choices(found, item) {
  const list = make("ul", { className: "choices people" });
  const none = make("p", { className: "soft", hidden: true }, "Nobody of that name is here.");
  const search = make("input", { type: "search", placeholder: "Name or @handle", "aria-label": "Look for somebody" });
  const rows = found.map((person) => [`${person.name} @${person.handle ?? ""}`.toLowerCase(), make("li", {}, item(person))]);
  list.append(...rows.map(([, row]) => row));
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    for (const [words, row] of rows) row.hidden = !words.includes(wanted);
    none.hidden = rows.some(([, row]) => !row.hidden);
  });
  return [search, list, none];
}

export async function openNewDirect(people) {
  await people.readPersons();
  const found = people.everybody.filter((one) => one.id !== me);
  const { attempt } = openDialog(
    "New direct message",
    ...choices(found, (person) =>
      make("button", { type: "button", className: "quiet", onclick: () => attempt(() => openDirect(person.id)) }, ...face(person)),
    ),
  );
}

export async function openNewChannel(people) {
  await people.readPersons();
  const name = make("input", { name: "name", required: true, maxLength: 80, autocomplete: "off", placeholder: "project-x" });
  const topic = make("input", { name: "topic", maxLength: 500, autocomplete: "off" });
  const invited = new Set();
  const [search, list, none] = choices(people.everybody.filter((one) => one.id !== me), (person) => {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => (box.checked ? invited.add(person.id) : invited.delete(person.id)));
    return make("label", {}, box, ...face(person));
  });
  const form = make(
    "form",
    {},
    make("label", {}, "Name", name),
    make("label", {}, "What it is about", topic),
    make("fieldset", {}, make("legend", {}, "Who is in it, besides you"), search, list, none),
    make("button", { className: "main" }, "Make the channel"),
  );
  const { attempt } = openDialog("New channel", form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const body = { organizationId: organization, name: name.value.replace(/^#\s*/u, ""), topic: topic.value, memberIds: [...invited] };
      location.assign(channels + (await ask("POST", "channels", body)).id);
    });
  });
}

export async function openMembers(channelId, people) {
  const body = make("div", { className: "members" });
  const { attempt, close } = openDialog("Members", body);
  await attempt(async () => {
    await people.readPersons();
    draw((await ask("GET", `channels/${channelId}/members`)).items);
  });

  function draw(members) {
    const inside = new Set(members.map((one) => one.userId));
    const manages = ["owner", "admin"].includes(people.get(me)?.role);
    const known = (one) => ({ ...one, ...people.get(one.userId), id: one.userId });
    const rows = members.map((one) => {
      const mine = one.userId === me;
      const out = mine || manages ? button("leave", mine ? "Leave" : "Remove", () => leave(one.userId)) : null;
      out?.setAttribute("aria-label", mine ? "Leave this channel" : `Remove ${one.name}`);
      return make("li", {}, make("span", { className: "person" }, ...face(known(one))), out);
    });
    const others = people.everybody.filter((one) => !inside.has(one.id));
    const add = ({ id, name, ...more }) => {
      const pressed = make("button", { type: "button", className: "quiet", "aria-label": `Add ${name}` }, ...face({ id, name, ...more }), make("b", {}, "Add"));
      pressed.addEventListener("click", () => attempt(async () => draw((await ask("POST", `channels/${channelId}/members`, { userId: id })).items)));
      return pressed;
    };
    body.replaceChildren(
      make("ul", { className: "people" }, ...rows),
      ...(others.length ? [make("h3", {}, "Add somebody"), ...choices(others, add)] : []),
    );
  }

  function leave(userId) {
    return attempt(async () => {
      await ask("DELETE", `channels/${channelId}/members?userId=${encodeURIComponent(userId)}`);
      if (userId === me) {
        close();
        location.assign("/");
      } else draw((await ask("GET", `channels/${channelId}/members`)).items);
    });
  }
}

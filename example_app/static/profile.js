// Who somebody is, beside their name: presence, role, and the way to a direct message.
import { ask } from "/neolith/static/client/api.js";
import { button, make, showTrouble } from "/neolith/static/client/dom.js";
import { dot } from "/neolith/static/client/presence.js";
import { avatar } from "./avatar.js";
import { openPopover } from "./popover.js";

const { me, channels } = document.body.dataset;

export async function openDirect(userId, say = "") {
  const { id } = await ask("POST", "channels", { userIds: [userId] });
  location.assign(`${channels}${id}${say ? `?say=${encodeURIComponent(say)}` : ""}`);
}

export function openProfile(anchor, person) {
  const trouble = make("p", { className: "note bad", role: "alert", hidden: true });
  const write = button("direct", `Message ${person.name}`, () => openDirect(person.id).catch((error) => showTrouble(trouble, error.message)));
  write.classList.add("main");
  const facts = [person.role, person.discipline].filter(Boolean).join(" · ");
  openPopover(
    anchor,
    `About ${person.name}`,
    make(
      "div",
      { className: "profile" },
      avatar(person),
      make(
        "div",
        { className: "titles" },
        make("p", {}, make("b", {}, person.name), " ", person.isOrchestrator ? make("span", { className: "tag" }, "AI") : null),
        person.handle ? make("p", { className: "soft" }, `@${person.handle}`) : null,
        facts ? make("p", { className: "soft" }, facts) : null,
        person.status ? make("p", {}, dot(person.status)) : null,
      ),
    ),
    person.id === me ? make("p", { className: "soft" }, "This is you.") : write,
    trouble,
  );
}

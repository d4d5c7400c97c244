// The first page: who is here, and for newcomers the way to a first answer.
import { make } from "/neolith/static/client/dom.js";
import { dot } from "/neolith/static/client/presence.js";
import { avatar } from "./avatar.js";
import { people } from "./frame.js";
import { openProfile } from "./profile.js";
import { Welcome } from "./welcome.js";

const { me } = document.body.dataset;
const list = document.getElementById("everybody");

function person(one) {
  const about = [one.handle ? `@${one.handle}` : null, one.role, one.discipline].filter(Boolean).join(" · ");
  const open = make(
    "button",
    { type: "button", className: "quiet", data: { user: one.id } },
    avatar(one),
    make("span", { className: "titles" }, make("b", {}, one.id === me ? `${one.name} (you)` : one.name), make("small", {}, about)),
    one.status ? dot(one.status) : null,
  );
  open.addEventListener("click", () => openProfile(open, one));
  return make("li", {}, open);
}

people.onChange(() => {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.user : null;
  list.replaceChildren(...people.everybody.map(person));
  if (focused) list.querySelector(`[data-user="${CSS.escape(focused)}"]`)?.focus();
});
people.readPersons();

// what the page before could not say any more
const told = sessionStorage.getItem("neolith-told");
sessionStorage.removeItem("neolith-told");
if (told) Object.assign(document.getElementById("told"), { textContent: told, hidden: false });

const card = document.getElementById("welcome");
if (card) new Welcome(card, people);

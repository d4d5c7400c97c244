// The first-run hint: wake a colleague, say hello, and there is the first answer. Then, or when it is put away, it does
// not come back.
import { ask } from "/neolith/static/client/api.js";
import { make, showTrouble } from "/neolith/static/client/dom.js";
import { dot } from "/neolith/static/client/presence.js";
import { openDirect } from "./profile.js";

const FIRST = "ada"; // whom to try first

export class Welcome {
  constructor(card, people) {
    this.card = card;
    this.people = people;
    this.trouble = card.querySelector("[role=alert]");
    card.querySelector(".dismiss").addEventListener("click", () => this.#attempt(() => done(document.body.dataset.welcomed).then(() => card.remove())));
    people.onChange(() => this.#draw());
  }

  #draw() {
    const all = this.people.orchestrators;
    const one = all.find(({ status }) => status === "ONLINE" || status === "BUSY") ?? all.find(({ handle }) => handle === FIRST) ?? all[0];
    this.card.hidden = !one;
    if (!one) return;
    const isThere = one.status === "ONLINE" || one.status === "BUSY";
    const had = document.activeElement?.dataset.action;
    this.card.querySelector("#welcome-wake").replaceChildren(...this.#wake(one, isThere));
    const hello = this.#button("hello", `Say hello to ${one.name}`, () => openDirect(one.id, `@${one.handle} hello`));
    hello.classList.toggle("main", isThere);
    const after = make("span", { className: "soft" }, isThere ? "The answer comes within seconds." : `${one.name} answers after the start.`);
    this.card.querySelector("#welcome-hello").replaceChildren(hello, " ", after);
    if (had) this.card.querySelector(`[data-action="${had}"]`)?.focus();
  }

  #wake(one, isThere) {
    if (isThere) return [make("b", {}, one.name), " is here. ", dot(one.status)];
    if (one.canManage === undefined) return [make("b", {}, one.name), " is not here."];
    if (!one.canManage) {
      return [make("b", {}, one.name), ` is not here. An owner or admin can start ${one.name}, for example Maya; or log in as ${one.name} in a private window.`];
    }
    const start = this.#button("start", `Start ${one.name}`, () => ask("POST", `orchestrators/${one.orchestratorId}/start`));
    start.classList.add("main");
    return [make("b", {}, one.name), " is not here. You may start colleagues: ", start];
  }

  #button(action, text, work) {
    const made = make("button", { type: "button", data: { action } }, text);
    made.addEventListener("click", () => {
      made.disabled = true;
      this.#attempt(work).finally(() => (made.disabled = false));
    });
    return made;
  }

  async #attempt(work) {
    try {
      await work();
      showTrouble(this.trouble, "");
    } catch (error) {
      showTrouble(this.trouble, error.message);
    }
  }
}

export function done(address) {
  const { value } = document.querySelector("[name=csrf_token]");
  return fetch(address, { method: "POST", headers: { "X-CSRFToken": value } });
}

// Whom an @ may mean: suggestions under the text, by handle or name, with presence.
import { make } from "/neolith/static/client/dom.js";
import { dot } from "/neolith/static/client/presence.js";
import { avatar } from "./avatar.js";

const BEGUN = /(^|[\s(])@([\p{L}\p{N}._-]*)$/u;
const MOST = 8;

export class Mentions {
  // people() -> [{id, handle, name, status, isOrchestrator}]
  constructor(input, list, people) {
    this.input = input;
    this.list = list;
    this.people = people;
    this.list.id = `${input.closest("[id]").id}-suggestions`;
    input.setAttribute("aria-controls", this.list.id);
    this.picked = 0;
    input.addEventListener("input", () => this.#suggest());
    input.addEventListener("blur", () => this.close());
  }

  // whether the key was for the suggestions
  key({ key }) {
    if (this.list.hidden) return false;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (key in moves) this.#pick(this.picked + moves[key]);
    else if (key === "Enter" || key === "Tab") this.#take(this.found[this.picked]);
    else if (key === "Escape") this.close();
    else return false;
    return true;
  }

  close() {
    this.list.hidden = true;
    this.list.replaceChildren();
    this.input.removeAttribute("aria-activedescendant");
  }

  #begun() {
    const { selectionStart, selectionEnd, value } = this.input;
    return selectionStart === selectionEnd ? BEGUN.exec(value.slice(0, selectionStart))?.[2] : undefined;
  }

  #suggest() {
    const begun = this.#begun()?.toLowerCase();
    const fits = ({ handle, name }) =>
      handle?.startsWith(begun) || name.toLowerCase().split(/\s+/u).some((word) => word.startsWith(begun));
    this.found = begun === undefined ? [] : this.people().filter(fits).slice(0, MOST);
    if (!this.found.length || (this.found.length === 1 && this.found[0].handle === begun)) return this.close();
    this.list.replaceChildren(...this.found.map((one, index) => this.#option(one, index)));
    this.list.hidden = false;
    return this.#pick(0);
  }

  #option(one, index) {
    const option = make(
      "li",
      { role: "option", id: `${this.list.id}-${index}` },
      avatar(one),
      make("b", {}, one.handle ? `@${one.handle}` : `@${one.name}`),
      make("span", { className: "soft" }, one.handle ? one.name : ""),
      one.status ? dot(one.status) : null,
    );
    // before the textarea loses the focus
    option.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.#take(one);
    });
    return option;
  }

  #pick(index) {
    const { children } = this.list;
    this.picked = (index + children.length) % children.length;
    for (const [at, option] of [...children].entries()) option.ariaSelected = String(at === this.picked);
    children[this.picked].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", children[this.picked].id);
  }

  #take({ handle, name }) {
    const end = this.input.selectionStart;
    this.input.setRangeText(`${handle ?? `"${name}"`} `, end - this.#begun().length, end, "end");
    this.close();
    this.input.dispatchEvent(new Event("input", { bubbles: true })); // for whoever keeps drafts
  }
}

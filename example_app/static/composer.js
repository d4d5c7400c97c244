// The form that messages are written in: Enter sends, Shift+Enter makes a new line, @ suggests whom to mention.
import { make } from "/neolith/static/client/dom.js";
import { dot } from "/neolith/static/client/presence.js";

const BEGUN = /(^|[\s(])@([\p{L}\p{N}._-]*)$/u;

export class Composer {
  // send(content); people() -> [{handle, name, status}]
  constructor(form, { send, people }) {
    this.send = send;
    this.people = people;
    this.input = form.querySelector("textarea");
    this.list = form.querySelector(".suggestions");
    this.list.id = `${form.closest("[id]").id}-suggestions`;
    this.input.setAttribute("aria-controls", this.list.id);
    this.picked = 0;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("input", () => this.#suggest());
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (event) => this.#key(event));
  }

  #submit() {
    const content = this.input.value;
    if (!content.trim()) return;
    this.input.value = "";
    this.#close();
    this.send(content);
  }

  #key(event) {
    if (event.isComposing) return;
    if (this.list.hidden) {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      this.#submit();
      return;
    }
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves) this.#pick(this.picked + moves[event.key]);
    else if (event.key === "Enter" || event.key === "Tab") this.#take(this.list.children[this.picked].dataset.handle);
    else if (event.key === "Escape") this.#close();
    else return;
    event.preventDefault();
  }

  #begun() {
    const { selectionStart, selectionEnd, value } = this.input;
    return selectionStart === selectionEnd ? BEGUN.exec(value.slice(0, selectionStart))?.[2] : undefined;
  }

  #suggest() {
    const begun = this.#begun()?.toLowerCase();
    const found = begun === undefined ? [] : this.people().filter((one) => one.handle.startsWith(begun));
    if (!found.length || (found.length === 1 && found[0].handle === begun)) return this.#close();
    this.list.replaceChildren(...found.map((one, index) => this.#option(one, index)));
    this.list.hidden = false;
    return this.#pick(0);
  }

  #option({ handle, name, status }, index) {
    const option = make(
      "li",
      { role: "option", id: `${this.list.id}-${index}`, data: { handle } },
      make("b", {}, `@${handle}`),
      make("span", {}, name),
      dot(status),
    );
    // before the textarea loses the focus
    option.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.#take(handle);
    });
    return option;
  }

  #pick(index) {
    const { children } = this.list;
    this.picked = (index + children.length) % children.length;
    for (const [at, option] of [...children].entries()) option.ariaSelected = String(at === this.picked);
    this.input.setAttribute("aria-activedescendant", children[this.picked].id);
  }

  #take(handle) {
    const end = this.input.selectionStart;
    this.input.setRangeText(`${handle} `, end - this.#begun().length, end, "end");
    this.#close();
  }

  #close() {
    this.list.hidden = true;
    this.list.replaceChildren();
    this.input.removeAttribute("aria-activedescendant");
  }
}

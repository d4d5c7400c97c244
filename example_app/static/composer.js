// The form that messages are written in: Enter sends, Shift+Enter makes a new line, @ suggests whom to mention, and
// Up in an empty field edits what one wrote last.
import { Mentions } from "./mentions.js";

export class Composer {
  // send(content); editLast(); people() -> whom one may mention
  constructor(form, { send, editLast, people }) {
    this.send = send;
    this.editLast = editLast;
    this.input = form.querySelector("textarea");
    this.mentions = new Mentions(this.input, form.querySelector(".suggestions"), people);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("input", () => this.fit());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.fit();
  }

  // what is there to be sent, for example from an address
  fill(content) {
    this.input.value = content;
    this.input.dispatchEvent(new Event("input", { bubbles: true })); // for whoever keeps drafts
    this.input.focus();
  }

  // as high as its text; the style sheet says how high at most
  fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight + this.input.offsetHeight - this.input.clientHeight}px`;
  }

  #submit() {
    const content = this.input.value;
    if (!content.trim()) return;
    this.input.value = "";
    this.fit();
    this.mentions.close();
    this.send(content);
  }

  #key(event) {
    if (event.isComposing) return;
    if (this.mentions.key(event)) event.preventDefault();
    else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && !this.input.value && this.editLast()) event.preventDefault();
  }
}

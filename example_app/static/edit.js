// A message of one's own, edited where it stands: Enter saves, Escape leaves it as it was.
import { button, make, showTrouble } from "/neolith/static/client/dom.js";

export class EditForm {
  // view: a MessageView; done() when the form is gone
  constructor(view, done) {
    this.view = view;
    this.done = done;
    this.input = make("textarea", { value: view.message.content, rows: 1, "aria-label": "Edit the message" });
    this.trouble = make("p", { className: "note bad", role: "alert", hidden: true });
    const save = make("button", { className: "main" }, "Save");
    const answering = view.actions.answering(view.message).join(" and ");
    const late = answering && ` The answer of ${answering} is to the text as it was: Regenerate it afterwards.`;
    const keys = make("small", { className: "soft" }, `Enter saves, Escape cancels.${late}`);
    this.element = make("form", { className: "edit" }, this.input, this.trouble, make("div", { className: "actions" }, save, button("cancel", "Cancel", () => this.#close()), keys));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    view.text.element.hidden = true;
    view.text.element.before(this.element);
    this.input.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
    this.input.setSelectionRange(this.input.value.length, this.input.value.length);
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.#close();
    else if (event.key === "Enter" && !event.shiftKey && event.target === this.input) this.#save();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async #save() {
    const content = this.input.value;
    if (content === this.view.message.content) return this.#close();
    if (!content.trim()) return showTrouble(this.trouble, "A message cannot be empty. Delete it instead.");
    try {
      await this.view.actions.edit(this.view.message, content);
      return this.#close();
    } catch (error) {
      return showTrouble(this.trouble, error.message);
    }
  }

  #close() {
    this.element.remove();
    this.view.text.element.hidden = false;
    this.done();
  }
}

// Questions before a deed, in a <dialog>. The focus goes back to where it was; Escape means no.
import { button, make } from "../client/dom.js";

// resolves to null where it was not meant, else to the answers: the values of the fields in `body` by their names
export function asked({ title, body = [], confirm, harm = false, wide = false }) {
  const from = document.activeElement;
  return new Promise((resolve) => {
    const yes = button("yes", confirm, () => done(answers(dialog)));
    yes.classList.add(harm ? "harm" : "main");
    const heading = make("h2", { id: "question" }, title);
    const card = make("article", {}, heading, ...body, make("footer", { className: "bar end" },
      button("no", "Cancel", () => done(null)), yes));
    const dialog = make("dialog", { className: wide ? "wide" : "", "aria-labelledby": "question" }, card);
    function done(answer) {
      dialog.close();
      dialog.remove();
      if (from?.isConnected) from.focus();
      resolve(answer);
    }
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      done(null);
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.matches("input:not([type=checkbox], [type=radio])")) yes.click();
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("input, textarea") ?? dialog.querySelector("[data-action=no]")).focus();
  });
}

// something to read, with one button to end it; `after` is given the card and may add to it
export function shown({ title, body, close = "Close" }) {
  const from = document.activeElement;
  return new Promise((resolve) => {
    const card = make("article", {}, make("h2", { id: "told" }, title), ...body,
      make("footer", { className: "bar end" }, button("close", close, () => end())));
    const dialog = make("dialog", { className: "wide", "aria-labelledby": "told" }, card);
    function end() {
      dialog.close();
      dialog.remove(); // at once: the event "close" comes later, and what it shows may be a secret
      if (from?.isConnected) from.focus();
      resolve();
    }
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      end();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function field(name, label, { type = "text", value = "", hint = "", ...more } = {}) {
  const input = make(type === "area" ? "textarea" : "input", { name, value, ...more });
  if (type !== "area") input.type = type;
  return make("label", {}, label, input, hint ? make("small", {}, hint) : null);
}

function answers(dialog) {
  const found = {};
  for (const one of dialog.querySelectorAll("[name]")) {
    if (one.type === "checkbox") found[one.name] = one.checked;
    else if (one.type !== "radio" || one.checked) found[one.name] = one.value.trim();
  }
  return found;
}

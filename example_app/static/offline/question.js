// A question in the page that has to be answered first: a dialog with a title, a sentence, a list, and buttons.
import { make } from "/neolith/static/client/dom.js";

// choices: [value, words, class]; answers the value, null for Escape
export function question({ title, text, items = [], choices }) {
  return new Promise((resolve) => {
    const buttons = choices.map(([value, words, className = ""]) => {
      return make("button", { type: "button", className, onclick: () => dialog.close(value) }, words);
    });
    const dialog = make(
      "dialog",
      { className: "question", "aria-labelledby": "question-title" },
      make("h2", { id: "question-title" }, title),
      make("p", {}, text),
      items.length ? make("ul", { tabIndex: 0 }, ...items.map((one) => make("li", {}, one))) : null,
      make("div", { className: "bar" }, ...buttons),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
    document.body.append(dialog);
    dialog.showModal();
    buttons[0].focus();
  });
}

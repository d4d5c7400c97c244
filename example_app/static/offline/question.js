// A question that has to be answered first: a dialog with a sentence, a list of texts, and buttons.
import { make } from "/neolith/static/client/dom.js";
import { openDialog } from "../dialog.js";

// choices: [value, words, class], the first one is the harmless one; answers the value, null for Escape
export function question({ title, text, items = [], choices }) {
  return new Promise((resolve) => {
    let chosen = null;
    const buttons = choices.map(([value, words, className = ""]) => {
      const choose = () => {
        chosen = value;
        close();
      };
      return make("button", { type: "button", className, onclick: choose }, words);
    });
    const list = items.length ? make("ul", { className: "texts", tabIndex: 0, "aria-label": "Texts" }) : null;
    list?.append(...items.map((one) => make("li", {}, one)));
    const { element, close } = openDialog(title, make("p", {}, text), list, make("div", { className: "answers" }, ...buttons));
    element.addEventListener("close", () => resolve(chosen));
    buttons[0].focus();
  });
}

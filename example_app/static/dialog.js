// A modal dialog with a title, a place for what went wrong, and a button that closes it.
import { make, showTrouble } from "/neolith/static/client/dom.js";

// returns {element, close(), attempt(work)}: attempt shows an error in the dialog and leaves it open
export function openDialog(title, ...children) {
  const opener = document.activeElement;
  const message = opener?.closest(".message"); // the opener may be drawn anew meanwhile
  const trouble = make("p", { className: "note bad", role: "alert", hidden: true });
  const close = make("button", { type: "button", className: "icon quiet", "aria-label": "Close", onclick: () => element.close() }, "×");
  const heading = make("h2", { id: "dialog-title" }, title);
  const element = make(
    "dialog",
    { className: "window", "aria-labelledby": "dialog-title" },
    make("header", {}, heading, close),
    ...children,
    trouble,
  );
  document.body.append(element);
  element.addEventListener("close", () => {
    element.remove();
    (opener?.isConnected ? opener : message)?.focus();
  });
  element.addEventListener("click", (event) => event.target === element && element.close()); // beside it
  element.showModal();
  (element.querySelector("input, .choices button") ?? close).focus();

  async function attempt(work) {
    try {
      showTrouble(trouble, "");
      await work();
    } catch (error) {
      showTrouble(trouble, error.message);
    }
  }
  return { element, attempt, close: () => element.close() };
}

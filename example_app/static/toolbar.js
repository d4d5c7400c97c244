// What one can do with a message: a toolbar that stands at the message under the pointer, or the one with the focus.
// The list is one stop of the Tab key: arrows go from message to message, Tab into the toolbar.
import { make } from "/neolith/static/client/dom.js";
import { views } from "./message.js";
import { sign } from "./signs.js";

export class Toolbar {
  // offered(message) -> [{sign, label, press(view, button)}]
  constructor(list, offered) {
    this.list = list;
    this.offered = offered;
    this.view = null;
    this.stop = null; // the message that Tab goes to
    this.element = make("div", { className: "toolbar", role: "toolbar", "aria-label": "Message" });
    list.addEventListener("pointerover", ({ pointerType, target }) => pointerType === "mouse" && this.#hover(target));
    // a finger leaves before what it touched is pressed
    list.addEventListener("pointerleave", ({ pointerType }) => pointerType !== "mouse" || this.element.contains(document.activeElement) || this.leave());
    list.addEventListener("focusin", (event) => {
      this.#moveTo(event.target);
      if (event.target.matches(".message")) this.element.scrollIntoView({ block: "nearest" });
    });
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  // the newest message is where Tab comes in, until one goes elsewhere
  comeIn(element) {
    if (this.stop?.isConnected && this.list.contains(document.activeElement)) return;
    if (this.stop) this.stop.tabIndex = -1;
    this.stop = element;
    if (element) element.tabIndex = 0;
  }

  leave() {
    this.element.remove();
    this.view = null;
  }

  // a focus that is in the toolbar stays with its message
  #hover(target) {
    if (document.querySelector(".popover")) return; // which belongs to a button here
    const isElsewhere = target.closest(".message") !== this.view?.element;
    if (isElsewhere && this.element.contains(document.activeElement)) this.view.element.focus({ preventScroll: true });
    this.#moveTo(target);
  }

  #moveTo(target) {
    const element = target.closest(".message");
    const view = element && views.get(element);
    if (!view || !/^\d/u.test(view.message.id)) return;
    if (element === document.activeElement && element !== this.stop) {
      if (this.stop) this.stop.tabIndex = -1;
      this.stop = element;
      element.tabIndex = 0;
    }
    if (this.view === view && this.element.isConnected) return;
    this.view = view;
    this.draw();
    view.body.append(this.element);
  }

  // a message has changed: what is offered may differ now
  refresh() {
    if (this.view && this.#labels() !== this.shown && !this.element.contains(document.activeElement)) this.draw();
  }

  #labels() {
    return this.offered(this.view.message).map(({ label }) => label).join();
  }

  draw() {
    this.shown = this.#labels();
    const buttons = this.offered(this.view.message).map(({ sign: name, label, press }, index) => {
      const made = make("button", { type: "button", className: "quiet", title: label, "aria-label": label, tabIndex: index ? -1 : 0 }, sign(name));
      made.addEventListener("click", () => press(this.view, made));
      return made;
    });
    this.element.replaceChildren(...buttons);
  }

  #key(event) {
    const { target, key } = event;
    if (target.parentElement === this.element && (key === "ArrowLeft" || key === "ArrowRight")) {
      this.#step([...this.element.children], target, key === "ArrowRight" ? 1 : -1);
    } else if (target.matches(".message") && (key === "ArrowUp" || key === "ArrowDown")) {
      this.#step([...this.list.querySelectorAll(".message:not([hidden])")], target, key === "ArrowDown" ? 1 : -1);
    } else if (target.parentElement === this.element && key === "Escape") target.closest(".message").focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #step(all, from, by) {
    const next = all[all.indexOf(from) + by];
    if (!next) return;
    next.focus({ preventScroll: false });
    next.scrollIntoView({ block: "nearest" });
  }
}

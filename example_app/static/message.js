// One message on the screen. Its parts are drawn anew only where they have changed, so the focus and the text stay.
import { button, make, showTrouble } from "/neolith/static/client/dom.js";
import { clockTime } from "/neolith/static/client/time.js";
import { askedFor } from "./approvals.js";
import { avatar } from "./avatar.js";
import { TextView } from "./text.js";

const STATES = { interrupted: "Interrupted", failed: "Failed" };
const REASONS = { offline: "nobody is there yet", again: "it is tried again", hours: "out of hours", budget: "the budget is spent", busy: "others are answered first", queue: "others are answered first" };

export const views = new WeakMap(); // element -> MessageView

export class MessageView {
  // actions: see actions.js
  constructor(actions, tag = "div") {
    this.actions = actions;
    this.text = new TextView({ names: actions.names, me: actions.me });
    this.drawn = new Map(); // part -> what it shows
    this.parts = {
      face: make("div", { className: "face" }),
      head: make("p", { className: "head" }),
      said: make("div", { className: "said" }),
      below: make("div", { className: "actions" }),
      trouble: make("p", { className: "note bad", role: "alert", hidden: true }),
    };
    const { face, head, said, below, trouble } = this.parts;
    this.body = make("div", { className: "body" }, head, this.text.element, said, below, trouble);
    this.element = make(tag, { className: "message", tabIndex: -1 }, face, this.body);
    if (tag === "div") this.element.setAttribute("role", "article");
    views.set(this.element, this);
  }

  update(message) {
    this.message = message;
    const { author, createdAt, editedAt, state } = message;
    Object.assign(this.element.dataset, { id: message.id, state, author: author.handle ?? "" });
    this.#draw("face", [author.id, author.name], () => [this.#face(message)]);
    this.#draw("head", [author.name, createdAt, editedAt, message.id], () => this.#head(message));
    if (!this.form) this.text.update(message);
    const calls = message.approval && this.actions.calls(message);
    const waits = this.actions.waiting(message);
    const isThinking = state === "streaming" && !message.content;
    const { notice, sending, isRefused, canRepeat, approval } = message;
    this.#draw("said", [state, isThinking, notice, sending, isRefused, message.deleted, approval, calls, waits], () =>
      calls ? askedFor(message, calls, this.#own()) : [...remarks(message), ...waits.map(queued)],
    );
    this.#draw("below", [message.reactions, sending, isRefused, canRepeat, message.deleted, message.versions, this.actions.may(message)], () => this.#below(message));
  }

  // run what may be refused; the refusal is shown here
  async attempt(work) {
    try {
      showTrouble(this.parts.trouble, "");
      return await work();
    } catch (error) {
      showTrouble(this.parts.trouble, error.message);
      return undefined;
    }
  }

  async edit() {
    const { EditForm } = await import("./edit.js");
    this.form ??= new EditForm(this, () => {
      this.form = null;
      this.text.update(this.message);
      this.element.focus();
    });
  }

  #draw(part, facts, build) {
    const key = JSON.stringify(facts);
    if (this.drawn.get(part) === key) return;
    this.drawn.set(part, key);
    const element = this.parts[part];
    const focused = element.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    element.replaceChildren(...build());
    if (focused) (element.querySelector(`[data-action="${CSS.escape(focused)}"]`) ?? this.element).focus();
  }

  #own() {
    const { actions } = this;
    return { ...actions, may: actions.mayDecide, decide: (...given) => this.attempt(() => actions.decide(...given)) };
  }

  #face({ author }) {
    const open = make("button", { type: "button", className: "quiet", tabIndex: -1, "aria-label": `About ${author.name}` }, avatar(author));
    open.addEventListener("click", () => this.actions.openProfile(open, author));
    return open;
  }

  #head({ id, author, createdAt, editedAt }) {
    const time = clockTime(createdAt);
    this.element.setAttribute("aria-label", `${author.name}, ${time.textContent}`);
    return [
      make("b", {}, author.name),
      author.isOrchestrator ? make("span", { className: "tag" }, "AI") : null,
      /^\d/u.test(id) ? make("a", { href: this.actions.addressOf(id), tabIndex: -1 }, time) : time,
      editedAt ? make("span", {}, "(edited)") : null,
    ].filter(Boolean);
  }

  #below(message) {
    const { actions } = this;
    const [canStop, , canTryAgain] = actions.may(message);
    const found = (message.reactions ?? []).map((one) => this.#chip(message, one));
    const add = (action, text, work) => found.push(button(action, text, () => this.attempt(() => work(message))));
    if (canStop) add("stop", "Stop", actions.stop);
    if (canTryAgain) add("again", "Try again", (one) => actions.steer(one, "retry"));
    if (message.sending) {
      if (message.canRepeat) add("retry", "Send again", actions.again);
      if (message.isRefused) add("edit", "Edit", actions.rewrite);
      add("discard", "Discard", actions.discard);
    }
    if (message.versions && !message.deleted) add("versions", `${message.versions + 1} versions`, actions.openVersions);
    return found;
  }

  #chip(message, { emoji, userIds }) {
    const mine = userIds.includes(this.actions.me);
    const names = userIds.map((id) => this.actions.nameOf(id)).filter(Boolean).join(", ");
    const chip = button(`react ${emoji}`, `${emoji} ${userIds.length}`, () => this.attempt(() => this.actions.react(message, emoji, !mine)));
    Object.assign(chip, { className: "chip", title: names, ariaPressed: String(mine) });
    return chip;
  }
}

function queued({ position, reason }) {
  const before = position ? `${position} before you` : "your question is next";
  return make("p", { className: "remark waits" }, REASONS[reason] ? `${before}: ${REASONS[reason]}` : before);
}

function remarks({ author, state, content, notice, sending, isRefused, deleted }) {
  const found = [];
  const remark = (text, kind = "") => found.push(make("p", { className: `remark ${kind}`.trim() }, text));
  if (deleted) return found;
  if (state === "streaming" && !content) remark(`${author.name} is thinking`, "busy");
  if (STATES[state] && !(notice && state === "interrupted")) remark(STATES[state], "bad"); // with a notice it goes on later
  if (notice) remark(notice);
  if (sending) remark(sending, isRefused ? "bad" : "");
  return found;
}

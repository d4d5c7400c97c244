// One message on the screen.
import { askedFor } from "./approvals.js";
import { button, make } from "/neolith/static/client/dom.js";
import { clockTime } from "/neolith/static/client/time.js";

const STATES = { interrupted: "Interrupted", failed: "Failed" };

export class MessageView {
  // actions: {me, canStop(message), stop(message), react(message, emoji), again(message), rewrite(message), discard(message),
  //           calls(message), decide(message, calls, decision), canRegenerate(message), canTryAgain(message),
  //           steer(message, what), waiting(message)}
  constructor(actions, tag = "div") {
    this.actions = actions;
    this.element = make(tag, { className: "message" });
    this.text = null;
    this.drawn = null;
  }

  update(message) {
    const canStop = this.actions.canStop(message);
    const grows = message.state === "streaming";
    const calls = message.approval && this.actions.calls(message);
    const may = [canStop, this.actions.canRegenerate(message), this.actions.canTryAgain(message)];
    const waits = this.actions.waiting(message);
    const shape = JSON.stringify([may, waits, calls, grows ? { ...message, content: "", html: "", seq: 0 } : message]);
    if (shape === this.drawn) {
      if (grows) this.text.textContent = message.content; // everything else, and the focus, stays
      return;
    }
    this.drawn = shape;
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    Object.assign(this.element.dataset, { id: message.id, state: message.state, author: message.author.handle ?? "" });
    this.text = body(message);
    const below = make("div", { className: "actions" }, ...this.#reactions(message), ...this.#buttons(message, may));
    const said = calls ? [askedFor(message, calls, this.actions)] : [...remarks(message), ...waits.map(queued)];
    this.element.replaceChildren(head(message), this.text, ...said, ...(below.childElementCount ? [below] : []));
    if (focused) this.element.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus();
  }

  #buttons(message, [canStop, canRegenerate, canTryAgain]) {
    const { actions } = this;
    const found = [];
    if (canStop) found.push(button("stop", "Stop", () => actions.stop(message)));
    if (canRegenerate) found.push(button("regenerate", "Regenerate", () => actions.steer(message, "regenerate")));
    if (canTryAgain) found.push(button("again", "Try again", () => actions.steer(message, "retry")));
    if (message.sending) {
      if (message.canRepeat) found.push(button("retry", "Send again", () => actions.again(message)));
      if (message.isRefused) found.push(button("edit", "Edit", () => actions.rewrite(message)));
      found.push(button("discard", "Discard", () => actions.discard(message)));
    }
    return found;
  }

  #reactions(message) {
    return (message.reactions ?? []).map(({ emoji, userIds }) => {
      const mine = userIds.includes(this.actions.me);
      const chip = button(`react ${emoji}`, `${emoji} ${userIds.length}`, () => this.actions.react(message, emoji, !mine));
      chip.ariaPressed = String(mine);
      return chip;
    });
  }
}

function head({ author, createdAt, editedAt }) {
  return make(
    "p",
    { className: "head" },
    make("b", {}, author.name),
    author.isOrchestrator ? make("span", { className: "tag" }, "AI") : null,
    clockTime(createdAt),
    editedAt ? make("span", {}, "(edited)") : null,
  );
}

function body(message) {
  if (message.deleted) return make("p", { className: "text gone" }, "This message was deleted.");
  if (message.state === "streaming" || message.html === undefined) {
    return make("div", { className: "text plain" }, message.content);
  }
  // the server has sanitised this: only its own Markdown becomes elements
  return make("div", { className: "text", innerHTML: message.html });
}

const REASONS = { offline: "nobody is there yet", again: "it is tried again", hours: "out of hours", budget: "the budget is spent" };

function queued({ position, reason }) {
  const before = position ? `${position} before you` : "your question is next";
  return make("p", { className: "remark waits" }, REASONS[reason] ? `${before}: ${REASONS[reason]}` : before);
}

function remarks(message) {
  const found = [];
  if (message.state === "streaming") found.push(make("p", { className: "remark busy" }, "writing"));
  if (STATES[message.state]) found.push(make("p", { className: "remark bad" }, STATES[message.state]));
  if (message.notice) found.push(make("p", { className: "remark" }, message.notice));
  if (message.sending) found.push(make("p", { className: message.isRefused ? "remark bad" : "remark" }, message.sending));
  return found;
}

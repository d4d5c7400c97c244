// What an answer asks leave for: its calls with their arguments for whoever asked, and the two buttons.
import { ask } from "/neolith/static/client/api.js";
import { button, make } from "/neolith/static/client/dom.js";

const isEscalated = (call) => call.asks === "managers";
const named = (calls) => calls.map((one) => one.id).join();

export class Approvals {
  // me: the visitor's user id; changed(messageId) once the arguments of its calls are known
  constructor({ me, changed }) {
    this.me = me;
    this.changed = changed;
    this.known = new Map(); // ids of calls -> these calls with their arguments
  }

  // only what comes to me alone has arguments
  hear({ messageId, calls }) {
    if (!calls.every((one) => one.arguments)) return;
    this.known.set(named(calls), calls);
    this.changed(messageId);
  }

  // the calls that wait: with arguments for the person who is asked, as soon as they are known
  calls({ id, approval }) {
    const waiting = approval.tools.filter((one) => one.state === "waiting");
    const key = named(waiting);
    if (approval.requester.id !== this.me && !waiting.some(isEscalated)) return waiting;
    if (!this.known.has(key)) this.#read(id, approval.turnId, key);
    return this.known.get(key) ?? waiting;
  }

  async #read(messageId, turnId, key) {
    this.known.set(key, undefined); // asked for once
    try {
      const { steps } = await ask("GET", `turns/${turnId}`);
      const waiting = steps.filter((one) => one.state === "waiting");
      this.known.set(named(waiting), waiting);
      this.changed(messageId);
    } catch (error) {
      if (!error.status) this.known.delete(key); // drawn again, it is read again; a refusal stays one
    }
  }

  // of these calls only: others, which nobody has seen yet, may wait by now
  async decide({ approval }, calls, decision) {
    for (const { id } of calls) await ask("POST", `turns/${approval.turnId}/${decision}`, { stepId: id });
  }
}

// actions: {me, decide(message, calls, decision)}
export function askedFor(message, calls, actions) {
  const { requester } = message.approval;
  const known = calls.every((one) => one.arguments);
  const isMine = message.approval.tools.some(isEscalated) ? known : requester.id === actions.me;
  if (!isMine) {
    const names = calls.map((one) => one.name).join(", ");
    const whose = calls.some(isEscalated) ? "an owner or admin" : requester.name;
    return make("p", { className: "remark" }, `Waits for approval of ${whose}: ${names}`);
  }
  const decide = (decision) => () => actions.decide(message, calls, decision);
  return make(
    "div",
    { className: "approval", role: "group", "aria-label": "Approval" },
    make("p", { className: "remark" }, "May I do this?"),
    ...calls.map((one) => make("pre", {}, `${one.name}${known ? `\n${JSON.stringify(one.arguments, null, 2)}` : ""}`)),
    known
      ? make(
          "div",
          { className: "actions" },
          button("approve", "Approve", decide("approve")),
          button("deny", "Deny", decide("deny")),
        )
      : null,
  );
}

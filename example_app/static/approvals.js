// What an answer asks leave for: its calls, with their arguments for whoever is asked, and buttons for who may decide.
import { ask } from "/neolith/static/client/api.js";
import { button, make } from "/neolith/static/client/dom.js";

const isEscalated = (call) => call.asks === "managers";
const named = (calls) => calls.map((one) => one.id).join();

export class Approvals {
  // me: the visitor's user id; manages(message) whether the visitor does; changed(messageId) once arguments are known
  constructor({ me, manages, changed }) {
    this.me = me;
    this.manages = manages;
    this.changed = changed;
    this.known = new Map(); // ids of calls -> these calls with their arguments
  }

  // only what comes to me alone has arguments
  hear({ messageId, calls }) {
    if (!calls.every((one) => one.arguments)) return;
    this.known.set(named(calls), calls);
    this.changed(messageId);
  }

  // the calls that wait: with arguments for who is asked, as soon as they are known
  calls(message) {
    const waiting = message.approval.tools.filter((one) => one.state === "waiting");
    const key = named(waiting);
    if (message.approval.requester.id !== this.me && !this.manages(message)) return waiting;
    if (!this.known.has(key)) this.#read(message.id, message.approval.turnId, key, waiting);
    return this.known.get(key) ?? waiting;
  }

  // {approve, deny}: what the visitor may do with a call
  may(message, call) {
    const mine = message.approval.requester.id === this.me;
    const manages = this.manages(message);
    return { approve: isEscalated(call) ? manages : mine, deny: mine || manages };
  }

  // of these calls only: others, which nobody has seen yet, may wait by now
  async decide({ approval }, calls, decision) {
    for (const { id } of calls) await ask("POST", `turns/${approval.turnId}/${decision}`, { stepId: id });
  }

  async #read(id, turnId, key, waiting) {
    this.known.set(key, undefined); // asked for once
    try {
      const { steps } = await ask("GET", `turns/${turnId}`);
      const found = new Map(steps.map((one) => [one.id, one.arguments]));
      this.known.set(key, waiting.map((one) => ({ ...one, arguments: found.get(one.id) })));
      this.changed(id);
    } catch (error) {
      if (!error.status) this.known.delete(key); // drawn again, it is read again; a refusal stays one
    }
  }
}

// the elements; actions: {may(message, call), decide(message, calls, decision)}
export function askedFor(message, calls, actions) {
  const { requester } = message.approval;
  const found = [];
  for (const escalated of [false, true]) {
    const these = calls.filter((one) => isEscalated(one) === escalated);
    if (!these.length) continue;
    const { approve, deny } = actions.may(message, these[0]);
    const whose = escalated ? "an owner or admin" : requester.name;
    const names = these.map((one) => one.name).join(", ");
    if (!approve) found.push(make("p", { className: "remark" }, `Waits for approval of ${whose}: ${names}`));
    if ((approve || deny) && these.every((one) => one.arguments)) found.push(group(message, these, actions, { approve, deny }));
  }
  return found;
}

function group(message, calls, { decide }, { approve, deny }) {
  const press = (decision) => () => decide(message, calls, decision);
  return make(
    "div",
    { className: "approval", role: "group", "aria-label": "Approval" },
    approve ? make("p", {}, make("b", {}, `May ${message.author.name} do this?`)) : null,
    ...calls.map((one) => make("pre", { tabIndex: 0 }, `${one.name}\n${JSON.stringify(one.arguments, null, 2)}`)),
    make(
      "div",
      { className: "actions" },
      approve ? button("approve", "Approve", press("approve")) : null,
      deny ? button("deny", "Deny", press("deny")) : null,
    ),
  );
}

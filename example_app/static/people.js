// Everybody one can meet here: orchestrators with their presence, as the API and events tell, and persons.
import { all } from "/neolith/static/client/api.js";

const { me, people: address } = document.body.dataset;

export class People {
  constructor(socket) {
    this.byUser = new Map(); // user id -> {id, name, handle, role, status, isOrchestrator, orchestratorId, canManage}
    this.listeners = new Set();
    this.newest = new Map(); // user id -> when its status was true
    this.asked = null;
    socket.on("presence:snapshot", (list) => this.#learn(list));
    socket.on("presence", (one) => this.#learn([one]));
    socket.on("connect", () => this.#readOrchestrators());
  }

  get(userId) {
    return this.byUser.get(userId);
  }

  get orchestrators() {
    return [...this.byUser.values()].filter((one) => one.isOrchestrator).sort(byName);
  }

  get everybody() {
    return [...this.byUser.values()].sort(byName);
  }

  // whether I am an owner or admin of the organization, which the orchestrator itself is not
  manages(orchestratorId) {
    return this.orchestrators.some((one) => one.orchestratorId === orchestratorId && one.canManage && one.id !== me);
  }

  get managesAny() {
    return this.orchestrators.some((one) => one.canManage && one.id !== me);
  }

  onChange(listener) {
    this.listeners.add(listener);
    listener();
  }

  // persons are read when somebody looks for one
  readPersons() {
    this.asked ??= fetch(address, { headers: { Accept: "application/json" } })
      .then((answer) => answer.json())
      .then(({ items }) => {
        for (const { id, name, role } of items) this.#put(id, { name, role, handle: null, isOrchestrator: false });
        this.tell();
      })
      .catch(() => (this.asked = null)); // no connection: asked again
    return this.asked;
  }

  async #readOrchestrators() {
    try {
      for (const one of await all("orchestrators")) {
        const { id, user, handle, role, discipline, canManage, organizationId, status } = one;
        const known = this.byUser.get(user.id)?.status ?? status;
        const facts = { name: user.name, handle, role, discipline, canManage, organizationId, status: known };
        this.#put(user.id, { ...facts, orchestratorId: id, isOrchestrator: true });
      }
      this.tell();
    } catch {
      // no connection: read again when it is back
    }
  }

  // the list of a new connection and news may overtake each other: the later one is true
  #learn(list) {
    for (const { userId, orchestratorId, name, handle, status, at } of list) {
      if (this.newest.get(userId) > at) continue;
      this.newest.set(userId, at);
      this.#put(userId, { orchestratorId, name, handle, status, isOrchestrator: true });
    }
    this.tell();
  }

  #put(id, facts) {
    this.byUser.set(id, { ...this.byUser.get(id), id, ...facts });
  }

  tell() {
    for (const listener of this.listeners) listener();
  }
}

function byName(a, b) {
  return a.name.localeCompare(b.name);
}

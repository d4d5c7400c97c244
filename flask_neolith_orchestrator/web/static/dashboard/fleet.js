// All orchestrators that one sees, with their daemons: read from the API, patched by what Socket.IO tells, read again.
import { all, ask } from "../client/api.js";
import { atMostEvery } from "../client/dom.js";

const FEW = 5; // so many are read one by one, more by reading all of them again
const PAUSE = 250; // milliseconds between two looks that events ask for
const REST = 10; // after a look at all, events ask for the next one when ten times as long as it took has passed
const HEALTH = [
  "status",
  "uptime",
  "activeConversations",
  "totalMessagesProcessed",
  "queued",
  "failed",
  "deadLetters",
  "restarts",
];

export class Fleet {
  // `changed(ids or null for all)` is told what to show; `trouble(text)` why nothing could be read
  constructor({ changed, trouble }) {
    this.known = new Map();
    this.changed = changed;
    this.trouble = trouble;
    this.stale = new Set();
    this.looking = false;
    this.again = false;
    this.restUntil = 0;
    this.refresh = atMostEvery(PAUSE, () => this.readStale());
  }

  // read everything; a call while it is being read is a further look afterwards
  async look() {
    if (this.looking) {
      this.again = true;
      return;
    }
    this.looking = true;
    const begun = performance.now();
    try {
      do {
        this.again = false;
        this.stale.clear();
        const items = await all("orchestrators", { health: true, limit: 200 });
        this.known = new Map(items.map((one) => [one.id, stamped(one)]));
        this.changed(null);
        this.trouble("");
      } while (this.again);
    } catch (error) {
      this.trouble(error.message);
    } finally {
      this.looking = false;
      this.restUntil = performance.now() + REST * (performance.now() - begun);
      if (this.stale.size) this.refresh(); // what was told while all were being read may be newer than that
    }
  }

  listen(socket) {
    socket?.on("connect", () => socket.emit("dashboard:watch", {}));
    socket?.on("presence:snapshot", () => this.look());
    socket?.on("presence", ({ orchestratorId, status }) => this.patch(orchestratorId, { status }, {}, true));
    socket?.on("daemon:status", ({ orchestratorId, status }) => this.patch(orchestratorId, {}, { status }, true));
    socket?.on("daemon:health", ({ orchestratorId, ...told }) => {
      const health = Object.fromEntries(HEALTH.filter((name) => name in told).map((name) => [name, told[name]]));
      this.patch(orchestratorId, {}, health, this.looking);
    });
  }

  // what a command has answered
  put(id, health) {
    this.patch(id, {}, health, true);
  }

  patch(id, values, health, isStale) {
    const one = this.known.get(id);
    if (one) {
      Object.assign(one, values, { health: { ...one.health, ...health } });
      if ("uptime" in health) stamped(one);
      this.changed([id]);
    }
    if (!isStale) return;
    this.stale.add(id);
    this.refresh();
  }

  async readStale() {
    const ids = [...this.stale];
    if (this.looking || !ids.length) return;
    if (ids.length > FEW || ids.some((id) => !this.known.has(id))) {
      if (performance.now() < this.restUntil) setTimeout(this.refresh, this.restUntil - performance.now());
      else await this.look();
      return;
    }
    this.stale.clear();
    await Promise.all(ids.map((id) => this.readOne(id)));
  }

  async readOne(id) {
    try {
      const [one, health] = await Promise.all([
        ask("GET", `orchestrators/${id}`),
        ask("GET", `orchestrators/${id}/status`),
      ]);
      this.known.set(id, stamped({ ...one, health }));
      this.changed([id]);
    } catch {
      this.look(); // gone, or nothing answers: that look says which
    }
  }
}

// uptime grows from the moment it was read
export function stamped(one) {
  one.readAt = performance.now();
  return one;
}

export function uptimeNow(one) {
  const { uptime } = one.health;
  return uptime === null || uptime === undefined ? null : uptime + performance.now() - one.readAt;
}

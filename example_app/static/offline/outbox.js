// What was written and not confirmed yet: kept before it is sent, sent in order and once, by one tab at a time.
//
// An entry: {clientId, order, channelId, threadId, content, createdAt, state, reason, again}. It is `waiting` until the
// server has it, or `refused` with the reason, which is for the person to decide. The clientId makes it one message
// however often it is sent, so an entry goes only when the server has answered.
import { Refused, Unreachable, ask } from "/neolith/static/client/api.js";

const FIRST = 1000; // milliseconds until it is tried again; doubled each time
const LONGEST = 30_000;
const TOO_LONG = 30_000; // for one answer
const LATER = [408, 425, 429]; // and every 5xx
const LOGIN_ENDED = 401;
const GONE = "If you should be able to write there, ask somebody in it, and send it again.";
const REMEDIES = { 403: GONE, 404: GONE };
const OTHERWISE = "Change it, and send it again.";

export class Outbox {
  constructor(kept) {
    this.kept = kept;
    this.entries = []; // in order
    this.fresh = new Map(); // clientId -> entry that is being kept
    this.sending = null; // clientId, in whichever tab
    this.watchers = [];
    this.pause = FIRST;
    this.running = false;
    this.channel = new BroadcastChannel(`neolith-outbox-${kept.person}`);
    this.channel.onmessage = ({ data }) => this.#hear(data);
    this.loaded = this.#load();
  }

  // changed() whenever entries or their states do; sent(message) with what the server made of one
  watch({ changed = () => {}, sent = () => {} }) {
    this.watchers.push({ changed, sent });
    queueMicrotask(changed);
  }

  async add({ channelId, threadId, content }) {
    const createdAt = new Date().toISOString();
    const entry = { clientId: newId(), order: this.#next(), channelId, threadId: threadId ?? null, content, createdAt, state: "waiting" };
    this.entries.push(entry);
    this.fresh.set(entry.clientId, entry);
    this.#changed();
    await this.kept.putWaiting(entry);
    this.fresh.delete(entry.clientId);
    this.#tell({});
    return this.flush();
  }

  // whether the server wants the next one for a channel later
  isHeld(channelId) {
    return this.entries.some((one) => one.channelId === channelId && one.again > Date.now());
  }

  // send it now, also if it was refused
  async again(clientId) {
    await this.#set(this.#find(clientId), { state: "waiting", reason: null, again: null });
    this.pause = FIRST;
    return this.flush();
  }

  async discard(clientId) {
    const found = this.#find(clientId);
    this.entries = this.entries.filter((one) => one.clientId !== clientId);
    this.#changed();
    await this.kept.removeWaiting(clientId);
    this.#tell({});
    return found;
  }

  // send what waits; harmless at any time
  async flush() {
    this.wanted = true;
    if (this.running) return;
    this.running = true;
    clearTimeout(this.timer);
    while (this.wanted) {
      this.wanted = false;
      await this.#alone(() => this.#sendAll());
    }
    this.running = false;
  }

  // Without locks (plain HTTP) two tabs may send the same at the same time, each in order: the server keeps one.
  #alone(work) {
    return navigator.locks ? navigator.locks.request(this.channel.name, work) : work();
  }

  async #sendAll() {
    await this.#load();
    if (!navigator.onLine) return; // the browser says when that changes
    const held = new Set(); // channels whose order would break
    for (;;) {
      const next = this.entries.find((one) => one.state === "waiting" && !held.has(one.channelId));
      if (!next || !this.kept.isMine) return;
      const wait = next.again ? next.again - Date.now() : 0;
      const outcome = wait > 0 ? "later" : await this.#send(next);
      if (outcome === "nobody") return;
      if (outcome !== "later") continue;
      held.add(next.channelId);
      this.#tryAgainIn(Math.max(wait, (next.again ?? 0) - Date.now()));
    }
  }

  async #send(entry) {
    this.#isSending(entry.clientId);
    const { content, clientId, channelId, threadId } = entry;
    try {
      const body = threadId ? { content, threadId, clientId } : { content, clientId };
      const message = await ask("POST", `channels/${channelId}/messages`, body, { signal: AbortSignal.timeout(TOO_LONG) });
      if (!message.id) throw new Unreachable(); // cut off in the middle of the answer
      this.pause = FIRST;
      for (const watcher of this.watchers) watcher.sent(message);
      await this.discard(clientId);
      this.#tell({ message });
      return "sent";
    } catch (error) {
      return await this.#failed(entry, error);
    } finally {
      this.#isSending(null);
    }
  }

  async #failed(entry, error) {
    const { status } = error;
    if (status === LOGIN_ENDED) return "nobody"; // the page leaves
    if (LATER.includes(status) || status >= 500) {
      const pause = error.retryAfter ? error.retryAfter * 1000 : this.#longer();
      await this.#set(entry, { reason: error.message, again: Date.now() + pause });
      return "later";
    }
    if (error instanceof Refused) {
      await this.#set(entry, { state: "refused", reason: `${error.message} ${REMEDIES[status] ?? OTHERWISE}`, again: null });
      return "refused";
    }
    this.#tryAgainIn(this.#longer());
    return "nobody";
  }

  #longer() {
    const { pause } = this;
    this.pause = Math.min(2 * pause, LONGEST);
    return pause;
  }

  #tryAgainIn(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), Math.max(milliseconds, 50));
  }

  // where nothing can be kept, what is in memory is all there is
  async #load() {
    const kept = await this.kept.waiting();
    if (kept === null) return;
    const known = new Set(kept.map((one) => one.clientId));
    this.entries = [...kept, ...[...this.fresh.values()].filter((one) => !known.has(one.clientId))];
    this.#changed();
  }

  async #set(entry, values) {
    if (!entry) return;
    Object.assign(entry, values);
    this.#changed();
    await this.kept.changeWaiting(entry);
    this.#tell({});
  }

  #find(clientId) {
    return this.entries.find((one) => one.clientId === clientId);
  }

  #next() {
    return Math.max(Date.now(), (this.entries.at(-1)?.order ?? 0) + 1);
  }

  #isSending(clientId) {
    this.sending = clientId;
    this.#changed();
    this.#tell({ sending: clientId });
  }

  #changed() {
    for (const watcher of this.watchers) watcher.changed();
  }

  #tell(news) {
    this.channel.postMessage(news);
  }

  // another tab has sent, written or discarded something
  #hear({ message, sending }) {
    if (sending !== undefined) this.sending = sending;
    if (message) for (const watcher of this.watchers) watcher.sent(message);
    this.#load();
  }
}

function newId() {
  // not randomUUID: that is missing where the page comes over plain HTTP from another machine
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

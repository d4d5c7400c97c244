// Reading messages over the API into the store: pages of a line, threads, and what events have left a gap in. Of the
// main line the store holds one stretch; `older` and `newer` lead on from its ends.
import { ask, query } from "/neolith/static/client/api.js";

const GAP = 500; // milliseconds until the server has surely stored more of an answer that is being written
const REPLIES = 10; // of a thread nobody has opened
const PAGE = 50; // messages on entering
const MORE = 30; // while one scrolls: few enough to be drawn between two frames

export class Reader {
  // batch(work): run what changes many messages
  constructor(channelId, store, batch) {
    this.path = `channels/${channelId}/messages`;
    this.store = store;
    this.batch = batch;
    this.older = new Map(); // thread id, null for the main line -> cursor of the next older page
    this.newer = new Map(); // the same towards newer ones; null where the newest are there
    this.waiting = new Map(); // message id -> timer
  }

  hasMore(edge, threadId) {
    return Boolean(this[edge].get(threadId));
  }

  async newest(threadId = null) {
    const page = await this.#read(threadId, {});
    this.batch(() => this.store.putNewest(page, threadId));
    this.older.set(threadId, page.next);
    this.newer.set(threadId, null);
  }

  // the messages of the main line on both sides of one, which is among them
  async around(id) {
    const [before, after] = await Promise.all([this.#read(null, { before: String(BigInt(id) + 1n) }), this.#read(null, { after: id })]);
    this.batch(() => [...before.items, ...after.items].forEach((one) => this.store.put(one)));
    this.older.set(null, before.next);
    this.newer.set(null, after.next);
  }

  fetch(edge, threadId) {
    const cursor = this[edge].get(threadId);
    return this.#read(threadId, { limit: MORE, ...(edge === "older" ? { before: cursor } : { after: cursor }) });
  }

  take(page, edge, threadId) {
    for (const message of page.items) this.store.put(message);
    this[edge].set(threadId, page.next);
  }

  // the list has let go of these at one end: it leads on from what is left
  letGo(ids, edge, threadId) {
    if (!ids.length) return;
    this.store.forget(ids);
    const left = this.store.line(threadId);
    this[edge].set(threadId, edge === "older" ? left[0].id : left.at(-1).id);
  }

  async replies(root) {
    const page = await this.#read(root.id, { limit: REPLIES });
    if (this.store.get(root.id)) this.batch(() => page.items.forEach((one) => this.store.put(one)));
  }

  // an answer lacks deltas: its row is stored every second, so look at it soon, and again if that was too early
  missing(message) {
    if (this.waiting.has(message.id)) return;
    const timer = setTimeout(async () => {
      this.waiting.delete(message.id);
      try {
        this.store.put(await ask("GET", `messages/${message.id}`));
      } catch {
        // no connection: everything is read again when it is back
      }
    }, GAP);
    this.waiting.set(message.id, timer);
  }

  #read(threadId, more) {
    return ask("GET", `${this.path}${query({ limit: PAGE, threadId, ...more })}`);
  }
}

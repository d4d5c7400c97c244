// Reading messages over the API into the store: pages, threads, and what events have left a gap in.
import { readMessages } from "/neolith/static/client/api.js";

const GAP = 500; // milliseconds until the server has surely stored more of an answer that is being written
const REPLIES = 10; // of a thread nobody has opened

export class Reader {
  constructor(channelId, store) {
    this.channelId = channelId;
    this.store = store;
    this.older = new Map(); // thread id, null for the main line -> cursor of the next older page
    this.waiting = new Map(); // message id -> timer
  }

  async newest(threadId = null, limit = 50) {
    const page = await this.#read(threadId, { limit });
    this.store.putNewest(page, threadId);
    this.older.set(threadId, page.next);
  }

  async before(threadId = null) {
    const page = await this.#read(threadId, { before: this.older.get(threadId) });
    for (const message of page.items) this.store.put(message);
    this.older.set(threadId, page.next);
  }

  async replies(root) {
    const page = await this.#read(root.id, { limit: REPLIES });
    for (const message of page.items) this.store.put(message);
  }

  // an answer lacks deltas: its row is stored every second, so look at it soon, and again if that was too early
  missing(message) {
    if (this.waiting.has(message.id)) return;
    const timer = setTimeout(async () => {
      this.waiting.delete(message.id);
      try {
        for (const one of (await this.#read(message.threadId)).items) this.store.put(one);
      } catch {
        // no connection: everything is read again when it is back
      }
    }, GAP);
    this.waiting.set(message.id, timer);
  }

  #read(threadId, more = {}) {
    return readMessages(this.channelId, { threadId, ...more });
  }
}

// The last messages of a channel and its threads: kept while one looks, shown when the server cannot be reached.
import { atMostEvery } from "/neolith/static/client/dom.js";

const LAST = 100; // messages of a channel or thread
const EVERY = 1000; // milliseconds

export class Lines {
  // batch(work): run what changes many messages; isNewest(threadId): whether the store has the newest ones of a line;
  // shown() after kept ones have come
  constructor({ kept, channelId, store, batch, isNewest, shown }) {
    Object.assign(this, { kept, channelId, store, batch, isNewest, shown });
    this.isLive = false; // only what the server says is worth keeping
    this.changedLines = new Set(); // thread ids, null for the main line
    this.saveSoon = atMostEvery(EVERY, () => this.save());
  }

  changed(message) {
    if (!this.isLive || message.state === "streaming") return;
    this.changedLines.add(message.threadId);
    this.saveSoon();
  }

  // everything has been read
  live() {
    if (!this.isLive) this.kept.dropOldLines();
    this.isLive = true;
    this.changedLines.add(null);
    for (const { threadId } of this.store.messages.values()) this.changedLines.add(threadId);
    this.saveSoon();
  }

  // the last moment of which one can say that this was so
  lost() {
    this.changedLines.add(null);
    return this.save();
  }

  save() {
    const lines = [...this.changedLines].filter((threadId) => this.isNewest(threadId));
    const work = lines.map((threadId) => this.kept.putLine(this.channelId, threadId, this.#last(threadId)));
    this.changedLines.clear();
    return Promise.all(work);
  }

  #last(threadId) {
    const all = this.store.line(threadId);
    const [root] = all;
    const last = all.slice(-LAST);
    return threadId && root && last[0] !== root ? [root, ...last] : last;
  }

  // put what was kept into the store; returns when that was (ISO 8601), null if there is nothing
  async show() {
    const lines = await this.kept.lines(this.channelId);
    if (this.isLive) return null; // the server was faster
    this.batch(() => lines.flatMap((one) => one.messages).forEach((message) => this.store.put(message)));
    this.shown();
    return lines.find((one) => one.threadId === "")?.at ?? null;
  }
}

// What is known of a channel's messages, and how news changes it. No elements, no network.
//
// Two sources may overtake each other: reads of the API, and events. A message therefore never goes back to an older
// epoch, nor within one epoch from written to being written, nor to a shorter text. Deltas that come too early wait
// until a read has filled the gap.

export function byAge(a, b) {
  return a.id.length - b.id.length || (a.id < b.id ? -1 : Number(a.id > b.id)); // ids are numbers of any size
}

export class Store {
  // changed(message) after every change; missing(message) when its text has a gap; me: the visitor's user id
  constructor({ me, changed, missing }) {
    this.me = me;
    this.changed = changed;
    this.missing = missing;
    this.messages = new Map();
    this.unsent = new Map(); // clientId -> message of mine that the server has not confirmed
    this.works = new Map(); // message id -> work by delivery id
    this.early = new Map(); // message id -> {epoch, texts by seq}
  }

  get(id) {
    return this.messages.get(id);
  }

  line(threadId) {
    const belongs = threadId
      ? (one) => one.id === threadId || one.threadId === threadId
      : (one) => one.threadId === null;
    return [...this.messages.values()].filter(belongs).sort(byAge);
  }

  newestReply(rootId) {
    let newest;
    for (const one of this.messages.values()) {
      if (one.threadId === rootId && !one.deleted && (!newest || byAge(newest, one) < 0)) newest = one;
    }
    return newest;
  }

  // what nobody looks at any more, with its threads
  forget(ids) {
    const gone = new Set(ids);
    for (const [id, one] of this.messages) if (gone.has(id) || gone.has(one.threadId)) this.messages.delete(id);
  }

  asker(answer) {
    return this.messages.get(answer.replyToId)?.author.id;
  }

  // the answers to a message that are being written
  answering(id) {
    return [...this.messages.values()].filter((one) => one.replyToId === id && one.state === "streaming" && !one.deleted);
  }

  put(message) {
    const before = this.messages.get(message.id);
    if (before && isOlder(message, before)) return;
    if (message.clientId && message.author.id === this.me) this.unsent.delete(message.clientId);
    this.messages.set(message.id, message);
    this.#catchUp(message);
    this.changed(message);
  }

  // what is known of one delivery: it waits, has begun or has ended
  wait(work) {
    const works = this.works.get(work.messageId) ?? new Map();
    this.works.set(work.messageId, works);
    if (work.state === "waiting") works.set(work.deliveryId, work);
    else works.delete(work.deliveryId);
    const message = this.messages.get(work.messageId);
    if (message) this.changed(message);
  }

  waiting(id) {
    return [...(this.works.get(id)?.values() ?? [])];
  }

  // a page of the newest messages: what lies before it was missed, unless it touches what is known
  putNewest(page, threadId) {
    const oldest = page.items.find((one) => one.id !== threadId);
    const known = this.line(threadId).filter((one) => one.id !== threadId).at(-1);
    if (page.next && oldest && known && byAge(known, oldest) < 0) {
      for (const one of this.line(threadId)) if (one.id !== threadId) this.messages.delete(one.id);
    }
    for (const message of page.items) this.put(message);
  }

  delta({ messageId, epoch, seq, text }) {
    const message = this.messages.get(messageId);
    if (!message || epoch < message.epoch || (epoch === message.epoch && message.state !== "streaming")) return;
    let early = this.early.get(messageId);
    if (early?.epoch !== epoch) this.early.set(messageId, (early = { epoch, texts: new Map() }));
    early.texts.set(seq, text);
    if (this.#catchUp(message)) this.changed(message);
  }

  // another attempt at the same answer begins
  reset({ messageId, epoch }) {
    const message = this.messages.get(messageId);
    if (!message || epoch <= message.epoch) return;
    Object.assign(message, { epoch, seq: 0, content: "", html: "", notice: null, approval: null, state: "streaming" });
    this.#catchUp(message);
    this.changed(message);
  }

  remove(id) {
    this.#set(id, { deleted: true, content: "", html: "", notice: null, approval: null, state: "final", reactions: [] });
  }

  react(id, reactions) {
    this.#set(id, { reactions });
  }

  #set(id, values) {
    const message = this.messages.get(id);
    if (!message) return;
    Object.assign(message, values);
    this.changed(message);
  }

  // true if text was added
  #catchUp(message) {
    const early = this.early.get(message.id);
    if (!early) return false;
    const added = early.epoch === message.epoch && message.state === "streaming" && append(message, early.texts);
    const over = early.epoch < message.epoch || (early.epoch === message.epoch && message.state !== "streaming");
    if (over || !early.texts.size) this.early.delete(message.id);
    else this.missing(message);
    return added;
  }
}

function isOlder(next, known) {
  if (known.deleted) return !next.deleted;
  if (next.epoch !== known.epoch) return next.epoch < known.epoch;
  if (next.state !== "streaming") return false;
  return known.state !== "streaming" || next.seq < known.seq;
}

function append(message, texts) {
  const before = message.seq;
  for (const seq of [...texts.keys()].sort((a, b) => a - b)) {
    if (seq > message.seq + 1) break;
    if (seq === message.seq + 1) {
      message.content += texts.get(seq);
      message.seq = seq;
    }
    texts.delete(seq);
  }
  return message.seq > before;
}

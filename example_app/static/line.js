// A list of messages on the screen: a channel's main line, or one thread. Follows its end while the reader is there.
import { button, make } from "/neolith/static/client/dom.js";
import { MessageView } from "./message.js";
import { byAge } from "/neolith/static/client/store.js";

const NEAR = 80; // pixels from the end that count as being there

export class LineView {
  // actions: those of MessageView, and {openThread(id), loadReplies(root)}
  constructor(section, store, actions) {
    this.store = store;
    this.actions = actions;
    this.threadId = null;
    this.isMain = section.id === "line";
    this.list = section.querySelector(".messages");
    this.scroll = section.querySelector(".scroll");
    this.empty = section.querySelector(".empty");
    this.rows = new Map(); // message id -> {element, view, newest, replies, message}
    this.unsent = new Map(); // clientId -> MessageView
    this.seen = new IntersectionObserver((entries) => this.#onSeen(entries));
  }

  // show another thread, or everything anew
  show(threadId = null) {
    this.threadId = threadId;
    this.rows.clear();
    this.list.replaceChildren();
    this.unsent.clear();
    for (const message of this.store.line(threadId)) this.update(message);
    this.drawUnsent();
    this.toEnd();
  }

  forgetMissing() {
    for (const [id, row] of this.rows) {
      if (this.store.get(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
  }

  update(message) {
    this.#staying(() => {
      if (this.#belongs(message)) this.#row(message);
      else if (this.isMain && message.threadId) this.#replied(message.threadId);
      // who asked may have become known only now
      for (const row of this.rows.values()) if (row.message.replyToId === message.id) row.view.update(row.message);
    });
    this.drawUnsent();
  }

  drawUnsent() {
    const open = this.isMain || this.threadId !== null;
    const mine = [...this.store.unsent.values()].filter((one) => open && one.threadId === this.threadId);
    const left = new Set(mine.map((one) => one.clientId));
    for (const [clientId, view] of this.unsent) {
      if (left.has(clientId)) continue;
      view.element.remove();
      this.unsent.delete(clientId);
    }
    for (const message of mine) {
      const view = this.unsent.get(message.clientId) ?? new MessageView(this.actions, "li");
      this.unsent.set(message.clientId, view);
      view.update(message);
      if (!view.element.isConnected) this.list.append(view.element);
    }
    if (this.empty) this.empty.hidden = this.rows.size + this.unsent.size > 0;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  // run what puts older messages on top without moving what is being read
  async keepingPlace(work) {
    const below = this.scroll.scrollHeight - this.scroll.scrollTop;
    await work();
    this.scroll.scrollTop = this.scroll.scrollHeight - below;
  }

  #belongs(message) {
    if (this.isMain) return message.threadId === null;
    return this.threadId !== null && (message.id === this.threadId || message.threadId === this.threadId);
  }

  #row(message) {
    let row = this.rows.get(message.id);
    if (!row) {
      row = this.#newRow(message);
      this.rows.set(message.id, row);
      this.#insert(row.element, message);
    }
    row.message = message;
    row.view.update(message);
    if (this.isMain) this.#replied(message.id);
  }

  #newRow(message) {
    const view = new MessageView(this.actions);
    const element = make("li", {}, view.element);
    if (!this.isMain) return { element, view, message };
    const newest = new MessageView(this.actions);
    const replies = button("thread", "", () => this.actions.openThread(message.id));
    newest.element.classList.add("newest");
    newest.element.hidden = true;
    element.append(newest.element, make("div", { className: "actions" }, replies));
    return { element, view, newest, replies, message };
  }

  #insert(element, message) {
    const later = [...this.rows.values()].filter((row) => byAge(message, row.message) < 0);
    const next = later.reduce((a, b) => (a && byAge(a.message, b.message) < 0 ? a : b), null);
    const firstUnsent = [...this.unsent.values()].find((view) => view.element.isConnected);
    this.list.insertBefore(element, next?.element ?? firstUnsent?.element ?? null);
  }

  // the newest answer of a thread stands under its root
  #replied(rootId) {
    const row = this.rows.get(rootId);
    if (!row) return;
    const { message } = row;
    const count = message.replyCount ?? 0;
    const newest = this.store.newestReply(rootId);
    row.replies.textContent = count ? `${count} ${count === 1 ? "reply" : "replies"}` : "Reply in thread";
    row.newest.element.hidden = !newest;
    if (newest) row.newest.update(newest);
    if (message.lastReply && !this.store.get(message.lastReply.id)) this.seen.observe(row.element);
  }

  #onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.seen.unobserve(target);
      const row = [...this.rows.values()].find((one) => one.element === target);
      if (row) this.actions.loadReplies(row.message);
    }
  }

  #staying(work) {
    const { scroll } = this;
    const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;
    work();
    if (atEnd) this.toEnd();
  }
}

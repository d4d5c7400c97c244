// A list of messages on the screen: a channel's main line, or one thread. Follows its end while the reader is there,
// and lets go of what is far away, so that the page stays small however long the channel is.
import { byAge } from "/neolith/static/client/store.js";
import { holdEnd } from "./end.js";
import { MessageView } from "./message.js";
import { Row } from "./row.js";
import { Toolbar } from "./toolbar.js";

const NEAR = 80; // pixels from the end that count as being there
const MOST = 300; // messages in the list; more are let go of at the far end

export class LineView {
  // actions: those of MessageView, and {openThread(id), loadReplies(root), offered(message)}
  constructor(section, store, actions) {
    this.store = store;
    this.actions = actions;
    this.threadId = null;
    this.isMain = section.id === "line";
    this.section = section;
    this.list = section.querySelector(".messages");
    this.scroll = section.querySelector(".scroll");
    this.empty = section.querySelector(".empty");
    this.rows = new Map(); // message id -> Row
    this.order = []; // rows, oldest first
    this.unsent = new Map(); // clientId -> MessageView
    this.readUntil = null; // what is newer is new to the reader
    this.isBatch = false;
    this.toolbar = new Toolbar(this.list, actions.offered);
    holdEnd(this);
  }

  // show another thread, or everything anew
  show(threadId = null) {
    this.threadId = threadId;
    this.clear();
    this.batch(() => this.store.line(threadId).forEach((message) => this.update(message)));
    this.toEnd();
  }

  clear() {
    this.rows.clear();
    this.order = [];
    this.unsent.clear();
    this.toolbar.leave();
    this.list.replaceChildren();
  }

  forgetMissing() {
    for (const id of this.rows.keys()) if (!this.store.get(id)) this.#drop(id);
  }

  update(message) {
    const isHere = this.#belongs(message);
    const root = this.isMain && message.threadId ? this.rows.get(message.threadId) : undefined;
    if (!isHere && !root) return; // not even a look at how high the page is
    this.#staying(() => {
      if (isHere) this.#put(message);
      else root.showReplies(this.store);
      // who asked may have become known only now
      for (const row of this.order) if (row.message.replyToId === message.id) row.view.update(row.message);
    });
    if (this.toolbar.view?.message.id === message.id) this.toolbar.refresh();
    if (!this.isBatch) this.drawUnsent();
  }

  // what is newer than the message `until` is new to the reader
  markNew(until) {
    this.readUntil = until;
    this.order.forEach((row, at) => {
      this.#join(at);
      if (row.message.lastReply) row.update(row.message, this.store);
    });
  }

  // one measure of the page for many messages
  batch(work) {
    if (this.isBatch) return work();
    const followed = this.isAtEnd();
    this.isBatch = true;
    try {
      return work();
    } finally {
      this.isBatch = false;
      this.drawUnsent();
      if (followed) this.toEnd();
    }
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
    if (this.empty) this.empty.hidden = this.list.dataset.ready !== "yes" || this.rows.size + this.unsent.size > 0;
    this.toolbar.comeIn(this.order.at(-1)?.view.element ?? null);
  }

  // show one message, as a permalink asks for it
  point(id) {
    const view = this.rows.get(id)?.view;
    if (!view) return;
    view.element.classList.add("pointed");
    view.element.scrollIntoView({ block: "center" });
    this.wasAtEnd = this.isAtEnd();
    this.toolbar.comeIn(view.element);
    view.element.focus({ preventScroll: true });
  }

  isAtEnd() {
    const { scroll } = this;
    return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  // run what changes the list elsewhere, without moving what is being read
  keepingPlace(work) {
    const { top } = this.scroll.getBoundingClientRect();
    const held = this.order.find(({ element }) => element.getBoundingClientRect().bottom > top);
    const before = held?.element.getBoundingClientRect().top;
    this.isBatch = true;
    work();
    this.isBatch = false;
    this.drawUnsent();
    if (held?.element.isConnected) this.scroll.scrollTop += held.element.getBoundingClientRect().top - before;
  }

  // let go of what is too much at one end; returns the ids that have gone
  trim(edge) {
    const extra = this.order.length - MOST;
    if (extra <= 0) return [];
    const gone = edge === "older" ? this.order.slice(0, extra) : this.order.slice(-extra);
    return gone.map(({ message: { id } }) => {
      this.#drop(id);
      return id;
    });
  }

  #belongs(message) {
    if (this.isMain) return message.threadId === null;
    return this.threadId !== null && (message.id === this.threadId || message.threadId === this.threadId);
  }

  #put(message) {
    let row = this.rows.get(message.id);
    if (!row) {
      row = new Row(message, this.actions, this.isMain);
      this.rows.set(message.id, row);
      this.#insert(row);
    }
    row.update(message, this.store);
  }

  #insert(row) {
    let at = this.order.length;
    while (at > 0 && byAge(row.message, this.order[at - 1].message) < 0) at -= 1;
    const firstUnsent = [...this.unsent.values()].find((view) => view.element.isConnected);
    this.list.insertBefore(row.element, this.order[at]?.element ?? firstUnsent?.element ?? null);
    this.order.splice(at, 0, row);
    this.#join(at);
    this.#join(at + 1);
  }

  #drop(id) {
    const row = this.rows.get(id);
    const at = this.order.indexOf(row);
    row.element.remove();
    this.rows.delete(id);
    this.order.splice(at, 1);
    this.#join(at);
  }

  #join(at) {
    this.order[at]?.follow(this.order[at - 1] ?? null, this.readUntil, this.actions.me);
  }

  #staying(work) {
    if (this.isBatch) return work();
    const followed = this.isAtEnd();
    work();
    return followed && this.toEnd();
  }
}

// The thread beside the main line: opened from a message, closed by Escape; and which threads have something new.
import { byAge } from "/neolith/static/client/store.js";

export class ThreadPanel {
  constructor({ section, view, line, reader, history, attempt, showDraft }) {
    Object.assign(this, { section, view, line, reader, history, attempt, showDraft });
    this.openedBy = null;
    this.since = null; // what is newer than this, and not newer than `until`, was missed
    this.until = null;
    this.fresh = new Set(); // roots of threads in which something came while nobody looked
    this.seen = new Set(); // roots of threads that were opened
    section.querySelector(".close").addEventListener("click", () => this.close());
    section.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.close();
    });
  }

  readUntil(since, until) {
    this.since = since;
    this.until = until;
  }

  isNew(rootId, reply) {
    if (this.seen.has(rootId) || !reply.author || reply.author.id === this.view.actions.me) return false;
    const wasMissed = this.since && this.until && byAge({ id: this.since }, reply) < 0 && byAge(reply, { id: this.until }) <= 0;
    return this.fresh.has(rootId) || Boolean(wasMissed);
  }

  hear({ threadId }, isLookedAt) {
    const isRead = this.view.threadId === threadId && document.visibilityState === "visible" && document.hasFocus();
    if (!threadId || isRead || isLookedAt) return;
    this.seen.delete(threadId);
    this.fresh.add(threadId);
  }

  // messageId: the reply to point at
  async open(id, messageId = null) {
    if (this.section.hidden) this.openedBy = document.activeElement;
    this.seen.add(id);
    this.section.hidden = false;
    document.body.classList.add("with-thread");
    this.view.show(id);
    this.showDraft(id);
    const root = this.view.store.get(id);
    if (root) this.line.update(root);
    this.section.querySelector("textarea").focus();
    await this.attempt(() => this.reader.newest(id), this.section);
    this.view.list.dataset.ready = "yes";
    this.history.draw();
    this.view.toEnd();
    if (messageId) this.view.point(messageId);
  }

  async refresh() {
    const { threadId } = this.view;
    if (!threadId) return;
    await this.reader.newest(threadId);
    this.view.forgetMissing();
    this.history.draw();
  }

  close() {
    this.section.hidden = true;
    document.body.classList.remove("with-thread");
    this.view.show(null);
    this.showDraft(null);
    if (this.openedBy?.isConnected) this.openedBy.focus();
    else document.querySelector("#line textarea").focus();
  }
}

// Telling the server how far one has read: when the newest messages are on a screen that somebody looks at.
import { ask } from "/neolith/static/client/api.js";
import { byAge } from "/neolith/static/client/store.js";

const PAUSE = 200; // milliseconds

export class ReadMark {
  // newest() -> id of the newest message known here, or null; isSeen() whether the end of the line is on the screen
  constructor({ channelId, newest, isSeen }) {
    this.channelId = channelId;
    this.newest = newest;
    this.isSeen = isSeen;
    this.sent = undefined; // nothing is told before `begin`
    for (const event of ["focus", "pageshow"]) addEventListener(event, () => this.look());
    document.addEventListener("visibilitychange", () => this.look());
    addEventListener("pagehide", () => this.timer && this.#send(true)); // what was seen is seen
  }

  // id: of what was read before this visit, or null
  begin(id) {
    this.sent = id;
  }

  isLookedAt() {
    return document.visibilityState === "visible" && document.hasFocus() && this.isSeen();
  }

  look() {
    this.wasSeen = this.isLookedAt();
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.#send();
    }, PAUSE);
  }

  // keepalive: it reaches the server even if the page is left meanwhile
  async #send(isLeaving = false) {
    const id = this.newest();
    if (!id || this.sent === undefined || !(isLeaving ? this.wasSeen : this.isLookedAt()) || (this.sent && byAge({ id }, { id: this.sent }) <= 0)) return;
    const before = this.sent;
    this.sent = id;
    try {
      await ask("PUT", `channels/${this.channelId}/read`, { messageId: id }, { keepalive: true });
    } catch (error) {
      if (!error.status) this.sent = before; // no connection: told when something comes again
    }
  }
}

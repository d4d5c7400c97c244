// What this browser keeps of the visitor: the last messages, and what waits to be sent. Where there is no storage (a
// private window, a full disk) everything works as long as the page is open.
import { forget, forgetAllButUnsent, nameOf, namesOf, onTaken, open, own, owner, stored } from "./person.js";

const LINES = 200; // channels and threads

export class Kept {
  // a page open for somebody makes this browser theirs: what was kept of another person goes
  constructor(person) {
    this.person = person;
    this.gone = false; // nothing is kept by this page any more
    this.isForgetting = false;
    this.ready = this.#takeOver();
  }

  async #takeOver() {
    const before = owner();
    if (before && before !== this.person) await forget(before);
    own(this.person);
  }

  // false once everything was forgotten, here or in another tab
  get isMine() {
    const now = owner();
    return !this.gone && (now === undefined || now === this.person);
  }

  onTaken(taken) {
    onTaken(() => this.isMine || this.isForgetting, taken);
  }

  // -- messages ---------------------------------------------------------------------------------------------

  putLine(channelId, threadId, messages) {
    const at = new Date().toISOString();
    return this.#write("lines", (lines) => lines.put({ channelId, threadId: threadId ?? "", messages, at }));
  }

  dropOldLines() {
    return this.#write("lines", async (lines) => {
      const old = (await lines.index("at").getAllKeys()).slice(0, -LINES);
      await Promise.all(old.map((key) => lines.delete(key)));
    });
  }

  // the main line and the threads of a channel
  lines(channelId) {
    return this.#run((db) => db.getAllFromIndex("lines", "channelId", channelId), []);
  }

  // when the server was last there
  seen() {
    if (this.isMine) stored((storage) => storage.setItem(nameOf(this.person, "seen"), new Date().toISOString()));
  }

  get lastSeen() {
    return stored((storage) => storage.getItem(nameOf(this.person, "seen")));
  }

  // -- the outbox -------------------------------------------------------------------------------------------

  // in the order they were written; null if nothing can be kept
  waiting() {
    return this.#run(async (db) => {
      await this.#takeIn();
      return db.getAllFromIndex("outbox", "order");
    }, null);
  }

  // at once, even when the page is being closed: first where that takes no time
  async putWaiting(entry) {
    const name = nameOf(this.person, "written", entry.clientId);
    stored((storage) => storage.setItem(name, JSON.stringify(entry)));
    if (await this.#write("outbox", (outbox) => outbox.put(entry))) stored((storage) => storage.removeItem(name));
  }

  // what a page that was closed had written, but not put into the database
  async #takeIn() {
    for (const name of namesOf(this.person, "written")) {
      const entry = stored((storage) => storage.getItem(name));
      if (entry) await this.putWaiting(JSON.parse(entry));
    }
  }

  // only if it is still there: another tab may have discarded it
  changeWaiting(entry) {
    return this.#write("outbox", async (outbox) => (await outbox.get(entry.clientId)) && outbox.put(entry));
  }

  removeWaiting(clientId) {
    return this.#write("outbox", (outbox) => outbox.delete(clientId));
  }

  // -- drafts -----------------------------------------------------------------------------------------------

  draftName(channelId, threadId) {
    return nameOf(this.person, "draft", `${channelId}-${threadId ?? ""}`);
  }

  drafts() {
    return namesOf(this.person, "draft").map((name) => stored((storage) => storage.getItem(name)) ?? "");
  }

  // -- forgetting -------------------------------------------------------------------------------------------

  async forget() {
    this.gone = this.isForgetting = true;
    await forget(this.person);
  }

  // the login has ended, but what was written waits for the same person
  async forgetAllButUnsent() {
    this.gone = this.isForgetting = true;
    await forgetAllButUnsent(this.person);
  }

  async #run(work, otherwise) {
    try {
      await this.ready;
      this.opening ??= open(this.person, () => (this.gone = true));
      return await work(await this.opening);
    } catch {
      return otherwise; // nothing can be kept, or everything was just forgotten
    }
  }

  #write(store, work) {
    return this.#run(async (db) => {
      if (!this.isMine) return undefined;
      const transaction = db.transaction(store, "readwrite");
      const [done] = await Promise.all([work(transaction.store), transaction.done]);
      return done;
    });
  }
}

// What this browser keeps of one person: messages and what waits to be sent, in an IndexedDB of their own.
// Where there is no storage (a private window, a full disk) everything works as long as the page is open.

const OWNER = "neolith-owner"; // of all that is kept
const SEEN = "neolith-seen"; // when the server was last there
const PAGES = "neolith-pages"; // the service worker's
export const LAST = 100; // messages of a channel or thread
const LINES = 200; // channels and threads
const LONG = 3000; // milliseconds that another page may take to let go

const nameOf = (person) => `neolith-${person}`;
const draftsOf = (person) => `neolith-draft-${person}-`;

export function stored(work, otherwise = null) {
  try {
    return work(localStorage);
  } catch {
    return otherwise;
  }
}

// undefined where there is no storage
export const owner = () => stored((storage) => storage.getItem(OWNER), undefined);
export const lastSeen = () => stored((storage) => storage.getItem(SEEN));

export class Kept {
  // a page open for somebody makes this browser theirs: what was kept of another person goes
  constructor(person) {
    this.person = person;
    this.gone = false;
    this.isForgetting = false;
    this.ready = this.#takeOver();
  }

  async #takeOver() {
    const before = owner();
    if (before && before !== this.person) await forget(before);
    stored((storage) => storage.setItem(OWNER, this.person));
  }

  // tell when another tab has forgotten everything, or somebody else has taken this browser over
  onTaken(taken) {
    addEventListener("storage", ({ key }) => {
      if ((key === OWNER || key === null) && !this.isMine && !this.isForgetting) taken();
    });
  }

  // false once everything was forgotten, here or in another tab
  get isMine() {
    const now = owner();
    return !this.gone && (now === undefined || now === this.person);
  }

  seen() {
    if (this.isMine) stored((storage) => storage.setItem(SEEN, new Date().toISOString()));
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

  // -- the outbox -------------------------------------------------------------------------------------------

  // in the order they were written
  waiting() {
    return this.#run((db) => db.getAllFromIndex("outbox", "order"), null);
  }

  putWaiting(entry) {
    return this.#write("outbox", (outbox) => outbox.put(entry));
  }

  // only if it is still there: another tab may have discarded it
  changeWaiting(entry) {
    return this.#write("outbox", async (outbox) => (await outbox.get(entry.clientId)) && outbox.put(entry));
  }

  removeWaiting(clientId) {
    return this.#write("outbox", (outbox) => outbox.delete(clientId));
  }

  // -- drafts -----------------------------------------------------------------------------------------------

  draftKey(channelId, threadId) {
    return `${draftsOf(this.person)}${channelId}-${threadId ?? ""}`;
  }

  drafts() {
    return draftsIn(this.person);
  }

  // -- forgetting -------------------------------------------------------------------------------------------

  // all of it; nothing is written by this page any more
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

async function open(person, onGone) {
  const { openDB } = await import("/neolith/static/vendor/idb-8.0.4.js");
  const db = await openDB(nameOf(person), 1, {
    upgrade(made) {
      const lines = made.createObjectStore("lines", { keyPath: ["channelId", "threadId"] });
      lines.createIndex("channelId", "channelId");
      lines.createIndex("at", "at");
      made.createObjectStore("outbox", { keyPath: "clientId" }).createIndex("order", "order");
    },
    // another tab forgets everything
    blocking() {
      onGone();
      db.close();
    },
  });
  return db;
}

function draftsIn(person) {
  const begins = draftsOf(person);
  return stored((storage) => Object.keys(storage).filter((key) => key.startsWith(begins)), []);
}

// how much of what somebody wrote here was never sent
export async function countUnsent(person) {
  const db = await open(person, () => {}).catch(() => null);
  const waiting = db ? await db.count("outbox") : 0;
  db?.close();
  return waiting + draftsIn(person).length;
}

export async function forgetAllButUnsent(person) {
  await forgetPages();
  const db = await open(person, () => {}).catch(() => null);
  await db?.clear("lines");
  db?.close();
}

export async function forget(person) {
  stored((storage) => {
    for (const key of [...draftsIn(person), SEEN]) storage.removeItem(key);
    if (storage.getItem(OWNER) === person) storage.removeItem(OWNER);
  });
  await forgetPages();
  await Promise.race([
    new Promise((resolve) => {
      const removing = indexedDB.deleteDatabase(nameOf(person));
      removing.onsuccess = removing.onerror = resolve;
    }).catch(() => {}),
    new Promise((resolve) => setTimeout(resolve, LONG)), // it goes as soon as the other page lets go
  ]);
}

async function forgetPages() {
  await globalThis.caches?.delete(PAGES).catch(() => {}); // there are none over plain HTTP
}

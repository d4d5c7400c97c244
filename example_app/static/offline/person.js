// Whose this browser is, and where what it keeps of a person lies: an IndexedDB, small things in localStorage, and the
// service worker's pages. Where there is no storage, nothing is kept.

const OWNER = "neolith-owner"; // of all that is kept
const PAGES = "neolith-pages"; // the service worker's
const LONG = 3000; // milliseconds that another page may take to let go

export function stored(work, otherwise = null) {
  try {
    return work(localStorage);
  } catch {
    return otherwise;
  }
}

// undefined where there is no storage
export const owner = () => stored((storage) => storage.getItem(OWNER), undefined);

export function own(person) {
  stored((storage) => storage.setItem(OWNER, person));
}

// a page of `person` is told that another tab has forgotten everything, or that somebody else has logged in
export function onTaken(isMine, taken) {
  addEventListener("storage", ({ key }) => (key === OWNER || key === null) && !isMine() && taken());
}

// names in localStorage: one small thing of a person, and all of a kind
export const nameOf = (person, kind, name = "") => `neolith-${kind}-${person}-${name}`;

export function namesOf(person, kind) {
  const begins = nameOf(person, kind);
  return stored((storage) => Object.keys(storage).filter((key) => key.startsWith(begins)), []);
}

export async function open(person, onGone = () => {}) {
  const { openDB } = await import("/neolith/static/vendor/idb-8.0.4.js");
  const db = await openDB(`neolith-${person}`, 1, {
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

// how much of what somebody wrote here was never sent
export async function countUnsent(person) {
  const drafts = namesOf(person, "draft").length + namesOf(person, "written").length;
  const db = await open(person).catch(() => null);
  const waiting = db ? await db.count("outbox") : 0;
  db?.close();
  return waiting + drafts;
}

export async function forgetAllButUnsent(person) {
  await forgetPages();
  const db = await open(person).catch(() => null);
  await db?.clear("lines");
  db?.close();
}

export async function forget(person) {
  stored((storage) => {
    for (const kind of ["draft", "written", "seen"]) for (const name of namesOf(person, kind)) storage.removeItem(name);
    if (storage.getItem(OWNER) === person) storage.removeItem(OWNER);
  });
  await forgetPages();
  await Promise.race([
    removeDatabase(`neolith-${person}`).catch(() => {}), // there is none where there is no storage
    new Promise((resolve) => setTimeout(resolve, LONG)), // it goes as soon as the other page lets go
  ]);
}

function removeDatabase(name) {
  return new Promise((resolve) => {
    const removing = indexedDB.deleteDatabase(name);
    removing.onsuccess = removing.onerror = resolve;
  });
}

async function forgetPages() {
  await globalThis.caches?.delete(PAGES).catch(() => {}); // there are none over plain HTTP
}

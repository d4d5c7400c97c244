// Keeps the app and the pages that were visited, so that they open without a connection. It never looks at the API or
// at Socket.IO: what is kept of messages is the page's business (offline/kept.js).
//
// VERSION, FILES and AWAY stand before this file when the server sends it (example_app/offline.py).

const SHELL = `neolith-shell-${VERSION}`;
const PAGES = "neolith-pages"; // of the one person who was here last
const MOST = 40; // pages
const PATIENCE = 8000; // milliseconds for a page of which there is a copy
const AWAY_STATUS = [502, 503, 504]; // a proxy says that nobody is behind it
const madeFor = new Map(); // id of an open page -> version of the app it was made for; what is not in here asks the network

addEventListener("install", (event) => {
  skipWaiting();
  const files = FILES.map((path) => new Request(path, { cache: "no-cache" }));
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(files)));
});

addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys().then(async (names) => {
      const old = names.filter((name) => name.startsWith("neolith-shell-") && name !== SHELL);
      await Promise.all(old.map((name) => caches.delete(name)));
      await clients.claim();
    }),
  );
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (request.mode === "navigate") event.respondWith(page(event));
  else if (FILES.includes(pathname)) event.respondWith(file(event, pathname));
});

// a page that was opened before there was a service worker asks for itself to be kept, and for the home page
addEventListener("message", (event) => {
  const paths = event.data?.keep ?? [];
  event.waitUntil(Promise.all(paths.map((path) => keepAnew(path).catch(() => {})))); // or the next time
});

async function keepAnew(path) {
  if (await caches.match(path, { cacheName: PAGES, ignoreVary: true })) return;
  await keep(path, await fetch(path, { credentials: "same-origin" }));
}

// the network first; without it the copy, and without that the page that says so
async function page(event) {
  const copy = await caches.match(event.request, { cacheName: PAGES, ignoreVary: true, ignoreSearch: true });
  const answering = fetch(event.request).then((answer) => {
    if (AWAY_STATUS.includes(answer.status) && copy) throw new Error("nobody is there");
    return answer;
  });
  try {
    const answer = await (copy ? Promise.race([answering, tooLate()]) : answering);
    remember(event.resultingClientId, answer);
    event.waitUntil(keep(new URL(event.request.url).pathname, answer.clone()));
    return answer;
  } catch {
    answering.catch(() => {}); // too late, or told already
    if (copy) remember(event.resultingClientId, copy);
    return copy ?? (await caches.match(AWAY)) ?? Response.error();
  }
}

function tooLate() {
  return new Promise((_, reject) => setTimeout(reject, PATIENCE, new Error("too slow")));
}

// pages of one person at a time: whoever comes next, and the login page, make an end of those before
async function keep(path, answer) {
  const visitor = answer.headers.get("X-Neolith-Visitor");
  if (!visitor) return; // no page of the chat
  let cache = await caches.open(PAGES);
  const [first] = await cache.keys();
  const before = first && (await cache.match(first, { ignoreVary: true }));
  if (before && before.headers.get("X-Neolith-Visitor") !== visitor) {
    await caches.delete(PAGES);
    cache = await caches.open(PAGES);
  }
  if (visitor === "nobody" || !answer.ok || answer.redirected) return;
  await cache.put(path, answer);
  const kept = await cache.keys();
  await Promise.all(kept.slice(0, Math.max(0, kept.length - MOST)).map((one) => cache.delete(one)));
}

// Where the server is newer than this script, the browser looks for the next one by itself, as at each page. It must not
// be asked from here: Chromium then waits for this worker to end, and this one for Chromium, and no page opens.
function remember(client, answer) {
  const version = answer.headers.get("X-Neolith-Version");
  if (version) madeFor.set(client, version);
}

// a page of this version gets the files of this version; any other the server's, and without it what there is
async function file({ request, clientId }, path) {
  const copy = await caches.match(path, { cacheName: SHELL, ignoreVary: true });
  if (copy && madeFor.get(clientId) === VERSION) return copy;
  return fetch(request).catch(() => copy ?? Response.error());
}

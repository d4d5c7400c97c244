// The Socket.IO connection of a page: says how it is, comes back by itself, and leaves when the login has ended.
// Each change is told to the document as neolith:connection, with the state as its detail.
// Where the host has no Socket.IO (data-live of the body is "no"), connect() returns null: look again by timer.
import { toLogin } from "./api.js";

const AGAIN = 1000; // milliseconds
const WORDS = { live: "live", reconnecting: "reconnecting", polling: "updated every 10 s" };

export function connect() {
  const shown = document.getElementById("connection");
  let said = null;
  const say = (state) => {
    if (state === said) return;
    said = state;
    document.dispatchEvent(new CustomEvent("neolith:connection", { detail: state }));
    if (!shown) return;
    shown.textContent = WORDS[state];
    shown.dataset.state = state;
  };
  if (document.body.dataset.live === "no" || !window.io) {
    say("polling");
    return null;
  }
  // a WebSocket at once saves three requests; where a proxy forbids it, polling comes second
  const ways = { transports: ["websocket", "polling"], tryAllTransports: true };
  const socket = window.io("/neolith", { ...ways, reconnectionDelay: 300, reconnectionDelayMax: 2000 });
  socket.on("connect", () => say("live"));
  socket.on("disconnect", (reason) => {
    say("reconnecting");
    // cut by the server: the login has ended, or the server goes down; the next try tells which
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), AGAIN);
  });
  socket.on("connect_error", (error) => {
    say("reconnecting");
    if (error.data?.status === 401) toLogin();
    else if (!socket.active) setTimeout(() => socket.connect(), AGAIN);
  });
  return socket;
}

const EVERY = 10_000; // milliseconds

// keep a page right: `look` runs now, at each (re)connection, at each of `events`, and by timer where nothing tells
export function keepLooking(socket, events, look) {
  look();
  for (const event of ["connect", ...events]) socket?.on(event, look);
  setInterval(() => {
    if (!document.hidden && !socket?.connected) look();
  }, EVERY);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
}

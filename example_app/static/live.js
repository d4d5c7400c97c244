// The Socket.IO connection of a page: says how it is, comes back by itself, and leaves when the login has ended.
import { toLogin } from "./api.js";

const AGAIN = 1000; // milliseconds

export function connect() {
  const shown = document.getElementById("connection");
  const socket = window.io("/neolith", { reconnectionDelay: 300, reconnectionDelayMax: 2000 });
  const say = (state) => {
    shown.textContent = state;
    shown.dataset.state = state;
  };
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

// Who is there: a dot and a word for each orchestrator, in every list that is marked with data-presence.
import { make } from "./dom.js";

export const WORDS = { ONLINE: "Online", OFFLINE: "Offline", BUSY: "Busy", ERROR: "Error" };

export function dot(status) {
  return make("span", { className: "dot", data: { status } }, WORDS[status] ?? status);
}

export function showPresence(socket) {
  const known = new Map();
  const lists = document.querySelectorAll("[data-presence]");

  function show() {
    const all = [...known.values()].sort((a, b) => a.name.localeCompare(b.name));
    for (const list of lists) list.replaceChildren(...all.map(item));
  }

  socket.on("presence:snapshot", (all) => {
    known.clear();
    for (const one of all) known.set(one.orchestratorId, one);
    show();
  });
  socket.on("presence", (one) => {
    known.set(one.orchestratorId, one);
    show();
  });
}

function item(one) {
  const { handle, status } = one;
  return make("li", { data: { orchestrator: handle, status }, title: `@${handle}` }, make("span", {}, one.name), dot(status));
}

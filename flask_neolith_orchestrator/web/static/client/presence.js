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

  // the list of a new connection and news may overtake each other: the later one is true
  function learn(all) {
    for (const one of all) if (!(known.get(one.orchestratorId)?.at > one.at)) known.set(one.orchestratorId, one);
    show();
  }

  socket.on("presence:snapshot", learn);
  socket.on("presence", (one) => learn([one]));
}

function item(one) {
  const { handle, status } = one;
  return make("li", { data: { orchestrator: handle, status }, title: `@${handle}` }, make("span", {}, one.name), dot(status));
}

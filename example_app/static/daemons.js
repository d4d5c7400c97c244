// The page of daemons: read from the API, and again whenever something is told about one of them.
import { ask } from "/neolith/static/client/api.js";
import { make, showTrouble } from "/neolith/static/client/dom.js";
import { clockTime } from "/neolith/static/client/time.js";
import { connect } from "/neolith/static/client/live.js";
import { dot, showPresence } from "/neolith/static/client/presence.js";

const EVERY = 10000; // milliseconds
const list = document.getElementById("daemons");
const trouble = document.getElementById("trouble");
let waiting = null;

function duration(milliseconds) {
  if (milliseconds === null) return "–";
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function facts(health) {
  return [
    ["Daemon", health.status],
    ["Up for", duration(health.uptime)],
    ["Last heartbeat", clockTime(health.lastHeartbeat)],
    ["Answering now", health.activeConversations],
    ["Waiting", health.queued],
    ["Answered", health.totalMessagesProcessed],
    ["Failed", health.failed],
    ["Restarts", health.restarts],
  ];
}

function card(one) {
  const { health, status } = one;
  const error = health.lastError ?? health.errors.at(-1)?.message;
  return make(
    "li",
    { data: { orchestrator: one.handle, status } },
    make("h2", {}, one.user.name, " ", make("small", {}, `@${one.handle} · ${one.role}`)),
    dot(status),
    make("dl", {}, ...facts(health).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    error ? make("p", { className: "note bad" }, `Last error: ${error}`) : null,
  );
}

async function look() {
  try {
    const { items } = await ask("GET", "orchestrators?health=true&limit=100");
    list.replaceChildren(...items.map(card));
    showTrouble(trouble, items.length ? "" : "There are no orchestrators here yet.");
  } catch (error) {
    showTrouble(trouble, error.message);
  }
}

function lookSoon() {
  waiting ??= setTimeout(() => {
    waiting = null;
    look();
  }, 150);
}

const socket = connect();
showPresence(socket);
for (const event of ["connect", "presence:snapshot", "presence", "daemon:status", "daemon:health"]) socket.on(event, lookSoon);
setInterval(() => document.hidden || look(), EVERY);
await look();

// The page of one orchestrator: its health now and over time, its turns, its charts.
import { ask } from "../client/api.js";
import { atMostEvery, showTrouble } from "../client/dom.js";
import { connect, keepLooking } from "../client/live.js";
import { WORDS } from "../client/presence.js";
import { clockTime, count, duration } from "../client/time.js";
import { Commands } from "./commands.js";
import { Errors } from "./errors.js";
import { Figures } from "./figures.js";
import { stamped, uptimeNow } from "./fleet.js";
import { History } from "./history.js";
import { fill, say, showDot, showIf, tell } from "./inplace.js";
import { Turns } from "./turns.js";
import { pauseText } from "./words.js";

const EVERY = 15_000; // milliseconds; what no event tells is read again then
const CHARTS = 3_000; // milliseconds between two looks at the charts, while answers are being given

const about = document.getElementById("about");
const notice = document.getElementById("notice");
const { orchestrator: id, name } = about.dataset;
const place = (what) => document.querySelector(`[data-health=${what}]`);
const complain = (text) => showTrouble(notice, text);

const commands = new Commands({ id, name, done: showHealth, trouble: complain });
const errors = new Errors(50);
const history = new History(document.getElementById("history"), id);
const turns = new Turns(document.getElementById("turns"), id, { messageLink: about.dataset.messageLink });
const figures = new Figures(document.getElementById("charts"), `orchestrators/${id}/figures`);
document.getElementById("commands").append(commands.element);
document.getElementById("errors").append(errors.element);

let shown = null;
let asked = 0;
let isTroubled = false;
const lookAtFigures = atMostEvery(CHARTS, () => figures.look());

function showHealth(health) {
  const before = shown?.health;
  shown = stamped({ health });
  showDot(place("daemon"), health.status);
  place("daemon").classList.add("dot");
  say(place("active"), count(health.activeConversations));
  say(place("queued"), count(health.queued));
  say(place("answered"), count(health.totalMessagesProcessed));
  say(place("failed"), count(health.deadLetters ?? health.failed));
  tell(place("failed"), "data-mood", (health.deadLetters ?? health.failed) ? "bad" : null);
  say(place("restarts"), count(health.restarts));
  fill(place("beat"), health.lastHeartbeat, () => clockTime(health.lastHeartbeat));
  say(place("wanted"), wantedText(health));
  const paused = document.getElementById("paused");
  showIf(paused, health.paused);
  fill(paused, health.paused ?? null, () =>
    health.paused ? [`${name} runs and does not answer now, `, ...pauseText(health.paused), "."] : [],
  );
  errors.show(health);
  commands.show(health);
  tick();
  if (before?.status !== health.status) history.look();
  if (before && before.totalMessagesProcessed !== health.totalMessagesProcessed) lookAtFigures();
}

function wantedText({ wanted, cause }) {
  if (cause === "person") return `${wanted}, by a person`;
  return wanted === "running" ? "running, by its login" : "stopped, until it logs in";
}

async function look() {
  const turn = ++asked;
  turns.look();
  try {
    const [one, health] = await Promise.all([
      ask("GET", `orchestrators/${id}`),
      ask("GET", `orchestrators/${id}/status`),
    ]);
    if (turn !== asked) return;
    showDot(document.getElementById("presence"), one.status, WORDS[one.status] ?? one.status);
    showHealth(health);
    if (isTroubled) complain("");
    isTroubled = false;
  } catch (error) {
    if (turn !== asked) return;
    isTroubled = true;
    complain(error.message);
  }
}

function tick() {
  if (shown) say(place("uptime"), duration(uptimeNow(shown)));
  turns.tick();
}

const soon = atMostEvery(200, look);
const socket = connect();
for (const event of ["presence", "daemon:status", "daemon:health"]) {
  socket?.on(event, (told) => {
    if (told.orchestratorId === id) soon();
  });
}
keepLooking(socket, ["presence:snapshot"], soon);
socket?.on("connect", () => {
  socket.emit("dashboard:watch", {});
  complain("");
  history.look();
  figures.look();
});
figures.look();
setInterval(tick, 1000);
setInterval(() => {
  if (document.hidden) return;
  look();
  history.look();
}, EVERY);

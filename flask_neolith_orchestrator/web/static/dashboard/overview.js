// The overview: every daemon live, the sums of all, and the charts of what one manages.
import { atMostEvery, showTrouble } from "../client/dom.js";
import { connect, keepLooking } from "../client/live.js";
import { announce } from "./commands.js";
import { DaemonTable } from "./daemon_table.js";
import { Figures } from "./figures.js";
import { Fleet } from "./fleet.js";
import { showIf } from "./inplace.js";
import { Sums } from "./sums.js";

const EVERY = 30_000; // milliseconds; what no event tells is read again then
const MONEY = 2_000; // milliseconds between two looks at what is spent, while answers are being given

const notice = document.getElementById("notice");
const loading = document.getElementById("loading");
const panel = document.getElementById("fleet");
const complain = (text) => showTrouble(notice, text);

let sums = null;
let isTroubled = false;
const troubled = new Map(); // orchestrator id -> whether it was in trouble

const fleet = new Fleet({
  changed: (ids) => {
    showIf(loading, false);
    showIf(panel, true);
    table.update(fleet.known, ids, sums.organizations);
    sums.show(fleet.known);
    sayTroubles();
  },
  trouble: (text) => {
    if (text || isTroubled) complain(text);
    isTroubled = Boolean(text);
  },
});

const table = new DaemonTable(document.getElementById("daemons"), {
  root: document.body.dataset.root,
  done: (id, health) => fleet.put(id, health),
  trouble: complain,
});

const figures = new Figures(document.getElementById("charts"), "figures");
sums = new Sums(document.getElementById("sums"), () => figures.look());
const countMoney = atMostEvery(MONEY, () => sums.read());

// what went wrong meanwhile is said once, to those who do not see it
function sayTroubles() {
  const fresh = [];
  for (const [id, one] of fleet.known) {
    const isBad = one.health.status === "error";
    if (isBad && troubled.get(id) === false) fresh.push(one.user.name);
    troubled.set(id, isBad);
  }
  if (fresh.length) announce(`${fresh.slice(0, 3).join(", ")}: error.`);
}

const socket = connect();
fleet.listen(socket);
socket?.on("daemon:health", countMoney);
keepLooking(
  socket,
  [],
  atMostEvery(100, () => {
    fleet.look();
    sums.read();
  }),
);
socket?.on("connect", () => {
  complain("");
  figures.look();
});
figures.look();
setInterval(() => table.tick(), 1000);
setInterval(() => {
  if (document.hidden) return;
  fleet.look();
  countMoney();
}, EVERY);

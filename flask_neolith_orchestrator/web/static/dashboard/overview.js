// The overview: rows come from the API; Socket.IO says when to look again, else a timer does.
import { all, ask } from "../client/api.js";
import { atMostEvery, make as create, showTrouble } from "../client/dom.js";
import { connect, keepLooking } from "../client/live.js";
import { clockTime, duration } from "../client/time.js";

const rows = document.getElementById("daemons");
const notice = document.getElementById("notice");
const known = new Map(); // orchestrator id -> {row, uptimeAt}
const make = (tag, className = "", text = "") => create(tag, className ? { className } : {}, text);

function newRow(id) {
  const row = make("tr");
  const cells = {};
  cells.who = row.appendChild(make("th"));
  cells.who.scope = "row";
  for (const name of ["presence", "daemon", "uptime", "active", "queued", "processed", "failed", "beat", "errors", "actions"]) {
    cells[name] = row.appendChild(make("td"));
  }
  const bar = cells.actions.appendChild(make("div", "actions"));
  const buttons = {};
  for (const action of ["start", "stop", "restart"]) {
    const button = bar.appendChild(make("button", "", action[0].toUpperCase() + action.slice(1)));
    button.type = "button";
    button.addEventListener("click", () => command(id, action, button));
    buttons[action] = button;
  }
  return { row, cells, buttons, bar, busy: false };
}

function showState(cell, state) {
  const shown = make("span", "state", state.toLowerCase());
  shown.dataset.state = state;
  cell.replaceChildren(shown);
}

function showErrors(cell, health) {
  const errors = health.errors.slice(-5).reverse();
  if (!errors.length && !health.lastError) return cell.replaceChildren("0");
  const open = cell.querySelector("details")?.open;
  const details = make("details");
  details.open = Boolean(open);
  details.append(make("summary", "", String(health.errors.length || 1)));
  const list = details.appendChild(make("ul"));
  if (health.lastError) list.append(make("li", "", health.lastError));
  for (const error of errors) {
    const item = list.appendChild(make("li"));
    item.append(clockTime(error.at), ` ${error.kind}${error.message ? `: ${error.message}` : ""}`);
  }
  return cell.replaceChildren(details);
}

function show(one) {
  const entry = known.get(one.id) ?? newRow(one.id);
  known.set(one.id, entry);
  const { cells, buttons, bar } = entry;
  cells.who.replaceChildren(one.user.name, make("small", "", [`@${one.handle}`, one.role].filter(Boolean).join(" · ")));
  showState(cells.presence, one.status);
  showHealth(entry, one.health);
  bar.hidden = !one.canManage;
  for (const button of Object.values(buttons)) button.setAttribute("aria-label", `${button.textContent} ${one.user.name}`);
  return entry.row;
}

function showHealth(entry, health) {
  const { cells, buttons } = entry;
  entry.uptime = health.uptime;
  entry.uptimeAt = performance.now();
  showState(cells.daemon, health.status);
  cells.uptime.textContent = duration(health.uptime);
  cells.active.textContent = health.activeConversations;
  cells.queued.textContent = health.queued;
  cells.processed.textContent = health.totalMessagesProcessed;
  cells.failed.textContent = health.failed;
  cells.beat.replaceChildren(clockTime(health.lastHeartbeat));
  showErrors(cells.errors, health);
  const running = health.status === "running" || health.status === "initializing";
  const had = Object.values(buttons).find((one) => one === document.activeElement);
  buttons.start.disabled = entry.busy || running;
  buttons.stop.disabled = entry.busy || !running;
  buttons.restart.disabled = entry.busy || !running;
  if (had?.disabled) Object.values(buttons).find((one) => !one.disabled)?.focus(); // it stays in the row
}

function complain(message) {
  showTrouble(notice, message);
}

async function command(id, action, button) {
  const entry = known.get(id);
  entry.busy = true;
  for (const one of Object.values(entry.buttons)) one.disabled = true;
  try {
    await ask("POST", `orchestrators/${id}/${action}`);
    complain("");
  } catch (error) {
    complain(error.message);
  } finally {
    entry.busy = false;
    await look();
    const next = button.disabled ? Object.values(entry.buttons).find((one) => !one.disabled) : button;
    next?.focus();
  }
}

async function look() {
  try {
    const items = await all("orchestrators", { health: true });
    const ids = new Set(items.map((one) => one.id));
    for (const [id, entry] of known) {
      if (!ids.has(id)) {
        entry.row.remove();
        known.delete(id);
      }
    }
    for (const one of items) {
      const row = show(one);
      if (!row.isConnected) rows.append(row);
    }
    document.getElementById("empty").hidden = items.length > 0;
  } catch (error) {
    complain(error.message);
  }
}

setInterval(() => {
  for (const entry of known.values()) {
    if (entry.uptime !== null) entry.cells.uptime.textContent = duration(entry.uptime + performance.now() - entry.uptimeAt);
  }
}, 1000);
keepLooking(connect(), ["presence", "presence:snapshot", "daemon:status", "daemon:health"], atMostEvery(150, look));

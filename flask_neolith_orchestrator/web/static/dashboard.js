// The dashboard: rows come from the API; Socket.IO says when to look again, else a timer does.
const api = document.body.dataset.api;
const rows = document.getElementById("daemons");
const notice = document.getElementById("notice");
const connection = document.getElementById("connection");
const known = new Map(); // orchestrator id -> {row, uptimeAt}
let connected = false;
let waiting = null;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text; // never HTML: names are anybody's text
  return element;
}

function duration(milliseconds) {
  if (milliseconds === null) return "–";
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const shown = [];
  let rest = seconds;
  for (const [size, unit] of parts) {
    if (rest >= size || (unit === "s" && !shown.length)) shown.push(`${Math.floor(rest / size)}${unit}`);
    rest %= size;
  }
  return shown.slice(0, 2).join(" ");
}

function clockTime(iso) {
  if (!iso) return make("span", "", "–");
  const time = make("time", "", new Date(iso).toLocaleTimeString());
  time.dateTime = iso;
  return time;
}

function complain(message) {
  notice.textContent = message;
  notice.hidden = !message;
}

async function ask(method, path) {
  const options = { method, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = "{}";
  }
  const response = await fetch(`${api}/${path}`, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail || answer.title);
  return answer;
}

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
  buttons.start.disabled = entry.busy || running;
  buttons.stop.disabled = entry.busy || !running;
  buttons.restart.disabled = entry.busy || !running;
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
    const items = [];
    let cursor = "";
    do {
      const page = await ask("GET", `orchestrators?health=true&limit=100${cursor}`);
      items.push(...page.items);
      cursor = page.next ? `&cursor=${page.next}` : null;
    } while (cursor);
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
    connection.textContent = connected ? "live" : "updated every 10 s";
  } catch (error) {
    connection.textContent = `no answer: ${error.message}`;
  }
}

function lookSoon() {
  waiting ??= setTimeout(() => {
    waiting = null;
    look();
  }, 150);
}

function listen() {
  if (document.body.dataset.live !== "yes" || !window.io) return;
  const socket = window.io("/neolith");
  socket.on("connect", () => { connected = true; lookSoon(); });
  socket.on("disconnect", () => { connected = false; lookSoon(); });
  socket.on("presence", (news) => {
    const entry = known.get(news.orchestratorId);
    if (entry) showState(entry.cells.presence, news.status);
    lookSoon();
  });
  for (const event of ["presence:snapshot", "daemon:status", "daemon:health"]) socket.on(event, lookSoon);
}

setInterval(() => {
  for (const entry of known.values()) {
    if (entry.uptime !== null) entry.cells.uptime.textContent = duration(entry.uptime + performance.now() - entry.uptimeAt);
  }
}, 1000);
setInterval(() => { if (!document.hidden) look(); }, 10000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) lookSoon(); });
await look();
listen();

// One orchestrator's row on the overview: made once, then only its values change.
import { make } from "../client/dom.js";
import { WORDS } from "../client/presence.js";
import { clockTime, count, duration } from "../client/time.js";
import { Commands } from "./commands.js";
import { Errors } from "./errors.js";
import { uptimeNow } from "./fleet.js";
import { fill, say, showDot, showIf, tell } from "./inplace.js";
import { pauseText } from "./words.js";

const COLUMNS = [
  ["state", ""],
  ["uptime", "Uptime", "number"],
  ["active", "Active", "number"],
  ["queued", "Waiting", "number"],
  ["answered", "Answered", "number"],
  ["failed", "Failed", "number"],
  ["restarts", "Restarts", "number"],
  ["beat", "Heartbeat"],
  ["errors", "Errors"],
  ["actions", ""],
];

export class DaemonRow {
  constructor(one, { root, done, trouble }) {
    this.one = one;
    this.cells = {};
    this.who = make("th", { scope: "row" });
    this.element = make("tr", { data: { id: one.id } }, this.who);
    for (const [name, label, kind = ""] of COLUMNS) {
      this.cells[name] = this.element.appendChild(make("td", { className: kind, data: label ? { label } : {} }));
    }
    this.root = root;
    this.presence = make("span", { className: "dot" });
    this.daemon = make("small", { className: "soft" });
    this.paused = make("small", { className: "paused", hidden: true });
    this.cells.state.append(make("div", { className: "stack" }, this.presence, this.daemon, this.paused));
    this.errors = new Errors(one.user.name);
    this.cells.errors.append(this.errors.element);
    this.commands = new Commands({ id: one.id, name: one.user.name, done: (health) => done(one.id, health), trouble });
    this.cells.actions.append(this.commands.element);
  }

  show(one, organization) {
    this.one = one;
    const { cells } = this;
    const { health } = one;
    const about = [`@${one.handle}`, one.role, organization].filter(Boolean).join(" · ");
    fill(this.who, [one.user.name, about, one.canManage], () => [
      one.canManage ? make("a", { href: `${this.root}orchestrators/${one.id}` }, one.user.name) : one.user.name,
      make("small", {}, about),
    ]);
    showDot(this.presence, one.status, WORDS[one.status] ?? one.status);
    say(this.daemon, `daemon ${health.status}`);
    tell(this.daemon, "data-daemon", health.status);
    showIf(this.paused, health.paused);
    fill(this.paused, health.paused ?? null, () => (health.paused ? pauseText(health.paused) : []));
    say(cells.active, count(health.activeConversations));
    say(cells.queued, count(health.queued));
    say(cells.answered, count(health.totalMessagesProcessed));
    say(cells.failed, count(health.deadLetters ?? health.failed));
    say(cells.restarts, count(health.restarts));
    fill(cells.beat, health.lastHeartbeat, () => clockTime(health.lastHeartbeat));
    this.errors.show(health);
    showIf(this.commands.element, one.canManage);
    this.commands.show(health);
    this.tick();
  }

  tick() {
    say(this.cells.uptime, duration(uptimeNow(this.one)));
  }
}

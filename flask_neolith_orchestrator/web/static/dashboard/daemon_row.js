// One orchestrator's row on the overview: made once, then only its values change.
import { make } from "../client/dom.js";
import { WORDS } from "../client/presence.js";
import { clockTime, count, duration } from "../client/time.js";
import { Commands } from "./commands.js";
import { errorText, listErrors } from "./errors.js";
import { uptimeNow } from "./fleet.js";
import { fill, say, showDot, showIf, tell } from "./inplace.js";
import { pauseText } from "./words.js";

const MOST = 5; // errors; the others are on its own page
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
    this.none = make("span", { className: "soft" }, "none");
    this.opener = make("button", {
      type: "button",
      className: "opener",
      onclick: () => this.toggle(this.opened.hidden),
    });
    this.cells.errors.append(this.none, this.opener);
    this.list = make("ul");
    const panel = make("td", { colSpan: COLUMNS.length + 1 }, this.list);
    this.opened = make("tr", { className: "opened errors", hidden: true }, panel);
    this.toggle(false);
    this.commands = new Commands({
      id: one.id,
      name: one.user.name,
      done: (health) => done(one.id, health),
      trouble,
    });
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
    tell(cells.failed, "data-mood", (health.deadLetters ?? health.failed) ? "bad" : null);
    say(cells.restarts, count(health.restarts));
    fill(cells.beat, health.lastHeartbeat, () => clockTime(health.lastHeartbeat));
    this.showErrors(health);
    showIf(this.commands.element, one.canManage);
    this.commands.show(health);
    this.tick();
  }

  showErrors(health) {
    const text = errorText(health);
    showIf(this.none, !text);
    showIf(this.opener, text);
    say(this.opener, text);
    tell(this.opener, "aria-label", `${text} of ${this.one.user.name}`);
    listErrors(this.list, health, MOST);
    if (!text) this.toggle(false);
  }

  toggle(isOpen) {
    showIf(this.opened, isOpen);
    tell(this.opener, "aria-expanded", String(isOpen));
  }

  tick() {
    say(this.cells.uptime, duration(uptimeNow(this.one)));
  }
}

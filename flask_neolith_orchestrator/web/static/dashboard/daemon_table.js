// The table of daemons: searched, filtered and sorted, and never more rows on the page than one has asked for.
import { button, make } from "../client/dom.js";
import { DaemonRow } from "./daemon_row.js";
import { arrange, say, showIf } from "./inplace.js";

const MOST = 50; // rows at first, and with each "show more"

const runs = (one) => one.health.status === "running";
const inTrouble = (one) => one.health.status === "error" || one.status === "ERROR";

export const FILTERS = {
  all: () => true,
  running: runs,
  busy: (one) => one.health.activeConversations > 0,
  waiting: (one) => one.health.queued > 0,
  paused: (one) => runs(one) && Boolean(one.health.paused),
  stopped: (one) => one.health.status === "stopped",
  trouble: inTrouble,
};

const by = (value) => (a, b) => value(b) - value(a);
const SORTS = {
  name: () => 0,
  trouble: by((one) => (inTrouble(one) ? 2 : 0) + (one.health.errors.length ? 1 : 0)),
  active: by((one) => one.health.activeConversations),
  waiting: by((one) => one.health.queued),
  answered: by((one) => one.health.totalMessagesProcessed),
  failed: by((one) => one.health.deadLetters ?? one.health.failed),
};

export class DaemonTable {
  constructor(root, callbacks) {
    this.body = root.querySelector("tbody");
    this.search = root.querySelector("[type=search]");
    this.filter = root.querySelector("[name=filter]");
    this.sort = root.querySelector("[name=sort]");
    this.shown = root.querySelector("[data-shown]");
    this.empty = root.querySelector(".scroll ~ .empty");
    this.region = root.querySelector(".scroll");
    this.more = button("more", "Show more", () => this.showMore());
    this.region.after(this.more);
    this.rows = new Map();
    this.most = MOST;
    this.callbacks = callbacks;
    this.order = [];
    this.fleet = new Map();
    for (const control of [this.search, this.filter, this.sort]) {
      control.addEventListener("input", () => {
        this.most = MOST;
        this.arrange(true);
      });
    }
  }

  // null: anything may have changed
  update(fleet, ids, organizations) {
    this.fleet = fleet;
    this.organizations = organizations;
    if (ids) for (const id of ids) this.showRow(id);
    this.arrange(false);
  }

  showRow(id) {
    const one = this.fleet.get(id);
    if (one) this.rows.get(id)?.show(one, this.organizations.get(one.organizationId));
  }

  matches(one) {
    const words = this.search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const text = `${one.user.name} @${one.handle} ${one.role} ${one.discipline}`.toLocaleLowerCase();
    return words.every((word) => text.includes(word)) && FILTERS[this.filter.value](one);
  }

  // rows do not jump away from under a pointer or the focus, unless one has asked for another order
  arrange(isAsked) {
    const found = [...this.fleet.values()].filter((one) => this.matches(one));
    if (isAsked || !this.body.matches(":hover, :focus-within")) {
      const compare = SORTS[this.sort.value];
      found.sort((a, b) => compare(a, b) || a.user.name.localeCompare(b.user.name) || a.id - b.id);
    } else {
      const place = new Map(this.order.map((id, index) => [id, index]));
      found.sort((a, b) => (place.get(a.id) ?? Infinity) - (place.get(b.id) ?? Infinity) || 0);
    }
    this.order = found.map((one) => one.id);
    const visible = this.order.slice(0, this.most);
    this.forget(visible);
    for (const id of visible) {
      if (!this.rows.has(id)) this.rows.set(id, new DaemonRow(this.fleet.get(id), this.callbacks));
      this.showRow(id);
    }
    arrange(
      this.body,
      visible.flatMap((id) => [this.rows.get(id).element, this.rows.get(id).opened]),
    );
    this.say(visible.length, found.length);
  }

  forget(visible) {
    const kept = new Set(visible);
    for (const id of this.rows.keys()) if (!kept.has(id)) this.rows.delete(id);
  }

  say(visible, found) {
    const all = this.fleet.size;
    const filtered = found === all ? "" : ` of ${all.toLocaleString()}`;
    const cut = visible < found ? `${visible} shown of ` : "";
    say(
      this.shown,
      `${cut}${found.toLocaleString()}${filtered}${found === 1 && !filtered ? " orchestrator" : " orchestrators"}`,
    );
    showIf(this.more, visible < found);
    showIf(this.region, found > 0);
    showIf(this.empty, found === 0);
    if (found) return;
    this.empty.replaceChildren(
      all ? "Nothing matches. Search for less, or show all states." : "There are no orchestrators here yet. ",
      all
        ? ""
        : make(
            "span",
            {},
            "Your app makes one with ",
            make("code", {}, "neolith.directory.create_orchestrator"),
            ".",
          ),
    );
  }

  showMore() {
    const next = this.most;
    this.most += MOST;
    this.arrange(true);
    this.rows.get(this.order[next])?.element.querySelector("a, button")?.focus();
  }

  tick() {
    for (const row of this.rows.values()) row.tick();
  }
}

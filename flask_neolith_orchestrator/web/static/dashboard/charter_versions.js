// The versions of a charter: who wrote them and why, what differs from the present one, and going back.
import { ask, query } from "../client/api.js";
import { button, make } from "../client/dom.js";
import { clockTime } from "../client/time.js";
import { changeTable } from "./charter_report.js";
import { asked, field, shown } from "./dialog.js";

const FEW = 10;

export class Versions {
  // restore(version, reason): let an older version hold again
  constructor(path, restore) {
    Object.assign(this, { path, restore, items: [], next: null });
    this.list = document.getElementById("versions");
    this.older = document.getElementById("older");
    this.older.addEventListener("click", () => this.#more());
  }

  async look() {
    const page = await this.#page();
    // what lies further back is never changed
    const known = new Map(this.items.map((one) => [one.version, { ...one, active: false }]));
    const had = this.items.length > FEW;
    for (const one of page.items) known.set(one.version, one);
    this.items = [...known.values()].sort((a, b) => b.version - a.version);
    if (!had) this.next = page.next;
    this.#show();
  }

  async #more() {
    const page = await this.#page(this.next);
    this.items.push(...page.items);
    this.next = page.next;
    this.#show();
  }

  #page(cursor) {
    return ask("GET", `${this.path}/versions${query({ limit: FEW, cursor })}`);
  }

  #show() {
    const focused = document.activeElement?.getAttribute("aria-label");
    this.list.replaceChildren(...this.items.map((one) => this.#item(one)));
    if (focused) this.list.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    this.older.hidden = !this.next;
    document.getElementById("no-versions").hidden = this.items.length > 0;
  }

  #item(one) {
    const present = this.items.find((other) => other.active)?.version ?? 0;
    const compare = button("compare", one.active ? "What it changed" : "Compare", () => this.#compare(one, present));
    compare.setAttribute("aria-label", `${compare.textContent}: version ${one.version}`);
    const back = one.active ? null : button("restore", "Go back to it", () => this.#goBack(one));
    back?.setAttribute("aria-label", `Go back to version ${one.version}`);
    return make("li", {},
      make("div", { className: "bar" }, make("strong", {}, `Version ${one.version}`),
        one.active ? make("span", { className: "tag good" }, "holds") : null,
        make("span", { className: "soft" }, one.authorName ?? "the app", " · ", clockTime(one.createdAt))),
      one.reason ? make("p", {}, one.reason) : null,
      make("div", { className: "bar" }, compare, back));
  }

  async #compare(one, present) {
    const [from, to] = one.active ? [one.version - 1, one.version] : [one.version, present];
    const diff = await ask("GET", `${this.path}/diff${query({ from, to })}`);
    await shown({
      title: one.active ? `What version ${to} changed` : `Version ${from} and the present version ${to}`,
      body: [make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Differences" },
        changeTable(diff.changes, [`Version ${from}`, `Version ${to}`]))],
    });
  }

  async #goBack(one) {
    const diff = await ask("GET", `${this.path}/diff${query({ from: this.items.find((other) => other.active)?.version ?? 0, to: one.version })}`);
    const answer = await asked({
      title: `Go back to version ${one.version}?`,
      body: [make("p", {}, "It is written once more, as a new version; nothing is lost. This is what changes:"),
        changeTable(diff.changes), field("reason", "Why", { maxLength: 400, autocomplete: "off" })],
      confirm: "Go back",
      wide: true,
    });
    if (answer) await this.restore(one.version, answer.reason);
  }
}

// The turns of one orchestrator, newest first: filtered, page by page, and each can be opened.
import { ask, query } from "../client/api.js";
import { button } from "../client/dom.js";
import { TurnRow } from "./turn_row.js";
import { arrange, say, showIf } from "./inplace.js";

const PAGE = 20;
const MOST = 200; // of one request

export class Turns {
  constructor(root, id, { messageLink }) {
    this.id = id;
    this.messageLink = messageLink;
    this.body = root.querySelector("tbody");
    this.region = root.querySelector(".scroll");
    this.empty = root.querySelector("[data-empty]");
    this.trouble = root.querySelector("[data-trouble]");
    this.keys = root.querySelector("[data-keys]");
    this.state = root.querySelector("[name=state]");
    this.more = button("more", "Show older turns", () => this.showMore());
    this.region.after(this.more);
    this.more.hidden = true;
    this.rows = new Map();
    this.wanted = PAGE;
    this.asked = 0;
    this.state.addEventListener("change", () => {
      this.wanted = PAGE;
      this.look();
    });
  }

  // everything that is shown is read again: an old turn may have changed as well
  async look() {
    const turn = ++this.asked;
    try {
      const { items, next } = await this.read();
      if (turn !== this.asked) return;
      showIf(this.trouble, false);
      this.show(items, next);
    } catch (error) {
      if (turn !== this.asked) return;
      say(this.trouble, `The turns could not be read: ${error.message}`);
      showIf(this.trouble, true);
    }
  }

  async read() {
    const items = [];
    let cursor;
    do {
      const limit = Math.min(this.wanted - items.length, MOST);
      const page = await ask(
        "GET",
        `orchestrators/${this.id}/turns${query({ state: this.state.value, limit, cursor })}`,
      );
      items.push(...page.items);
      cursor = page.next;
    } while (cursor && items.length < this.wanted);
    return { items, next: cursor };
  }

  show(items, next) {
    const longest = Math.max(1, ...items.map((one) => one.totalMs ?? 0));
    const kept = new Set(items.map((one) => one.id));
    for (const id of this.rows.keys()) if (!kept.has(id)) this.rows.delete(id);
    const elements = [];
    for (const one of items) {
      if (!this.rows.has(one.id)) this.rows.set(one.id, new TurnRow(this.messageLink));
      const row = this.rows.get(one.id);
      row.show(one, longest);
      elements.push(row.element, row.opened);
    }
    arrange(this.body, elements);
    showIf(this.region, items.length > 0);
    showIf(this.keys, items.length > 0);
    showIf(this.more, Boolean(next));
    showIf(this.empty, items.length === 0);
    say(
      this.empty,
      this.state.value
        ? "No turns in this state."
        : "Nobody has been answered yet. Each answer will be listed here, with its steps.",
    );
  }

  async showMore() {
    const known = this.rows.size;
    this.wanted += PAGE;
    await this.look();
    [...this.rows.values()][known]?.button.focus();
  }

  tick() {
    for (const row of this.rows.values()) row.tick();
  }
}

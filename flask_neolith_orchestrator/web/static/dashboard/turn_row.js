// One turn in the list: who asked, why it woke, its times as a bar, tokens and cost; opened, all there is to know.
import { ask } from "../client/api.js";
import { make } from "../client/dom.js";
import { clockTime, count, dollars, duration } from "../client/time.js";
import { fill, say, showDot, tell } from "./inplace.js";
import { showTurn } from "./turn_details.js";
import { STATES, wakeText } from "./words.js";

const CELLS = [
  ["who", "Asked by"],
  ["why", "Why it woke"],
  ["when", "Began"],
  ["time", "Time"],
  ["tokens", "Tokens", "number"],
  ["cost", "Cost", "number"],
];

export class TurnRow {
  constructor(messageLink) {
    this.messageLink = messageLink;
    this.dot = make("span", { className: "dot" });
    this.button = make("button", { type: "button", className: "opener", onclick: () => this.toggle() }, this.dot);
    this.cells = {};
    this.element = make("tr", {}, make("th", { scope: "row" }, this.button));
    for (const [name, label, kind = ""] of CELLS) {
      this.cells[name] = this.element.appendChild(make("td", { className: kind, data: { label } }));
    }
    this.bar = make(
      "span",
      { className: "times", "aria-hidden": "true" },
      ...[2, 3, 1].map((hue) => make("i", { className: `hue-${hue}` })),
    );
    this.total = make("span");
    this.cells.time.append(make("div", {}, this.bar, this.total));
    this.panel = make("div", { className: "turn" });
    this.opened = make(
      "tr",
      { className: "opened", hidden: true },
      make("td", { colSpan: CELLS.length + 1 }, this.panel),
    );
    tell(this.button, "aria-expanded", "false");
  }

  show(one, longest) {
    const isNew = this.one === undefined;
    const hasChanged = !isNew && JSON.stringify(this.one) !== JSON.stringify(one);
    this.one = one;
    const { cells } = this;
    showDot(this.dot, one.state, STATES[one.state] ?? one.state);
    this.element.dataset.turn = one.id;
    this.opened.dataset.of = one.id;
    tell(
      this.button,
      "aria-label",
      `Turn ${one.id}, ${STATES[one.state] ?? one.state}, asked by ${one.requester.name}`,
    );
    fill(cells.who, [one.requester, one.channel], () =>
      make(
        "div",
        { className: "stack" },
        one.requester.name,
        make("small", { className: "soft" }, whereText(one.channel)),
      ),
    );
    fill(cells.why, [one.reason, one.kind, one.attempt, one.errorKind], () =>
      make(
        "div",
        { className: "stack" },
        one.kind === "regenerate" ? "to be written anew" : wakeText(one.reason),
        remark(one),
      ),
    );
    fill(cells.when, one.startedAt, () => clockTime(one.startedAt));
    fill(cells.tokens, one.usage, () => tokens(one.usage));
    say(cells.cost, one.cost === null && one.unpriced ? "no price" : dollars(one.cost));
    this.longest = longest;
    this.tick();
    if (hasChanged && !this.opened.hidden) this.read();
  }

  tick() {
    const { queuedAt, startedAt, endedAt, state, waitingMs, firstTextMs, totalMs } = this.one;
    const isOver = Boolean(endedAt) || totalMs !== null;
    const total = isOver ? totalMs : Date.now() - Date.parse(queuedAt ?? startedAt);
    const waiting = waitingMs ?? 0;
    const first = firstTextMs ?? (isOver ? waiting : total);
    const parts = [waiting, first - waiting, (total ?? 0) - first];
    const scale = Math.max(this.longest, total ?? 0) / 100;
    parts.forEach((part, index) => {
      this.bar.children[index].style.inlineSize = `${Math.max(part, 0) / scale}%`;
    });
    say(this.total, `${duration(total)}${isOver || state === "parked" ? "" : " so far"}`);
    tell(
      this.total,
      "title",
      `waited ${duration(waitingMs)}, first text after ${duration(firstTextMs)}, ${duration(total)} in all`,
    );
  }

  toggle() {
    const isOpen = this.opened.hidden;
    this.opened.hidden = !isOpen;
    tell(this.button, "aria-expanded", String(isOpen));
    if (isOpen) this.read();
  }

  async read() {
    if (!this.panel.firstChild) this.panel.append(make("p", { className: "empty" }, "Reading…"));
    try {
      const turn = await ask("GET", `turns/${this.one.id}`);
      fill(this.panel, [turn, this.one], () =>
        showTurn({ ...turn, ...this.one, steps: turn.steps, deliveries: turn.deliveries }, this.messageLink),
      );
    } catch (error) {
      this.panel.replaceChildren(
        make("p", { className: "note bad" }, `This turn could not be read: ${error.message}`),
      );
    }
  }
}

export function whereText(channel) {
  if (!channel) return "in a place that you cannot read";
  const name = channel.name ? `#${channel.name}` : "a direct message";
  return channel.threadId ? `in a thread of ${name}` : `in ${name}`;
}

function remark({ attempt, errorKind }) {
  const said = [errorKind, attempt > 1 && `attempt ${attempt}`].filter(Boolean).join(", ");
  return said ? make("small", { className: errorKind ? "bad" : "soft" }, said) : null;
}

function tokens({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }) {
  const said = `${count(inputTokens + cacheReadTokens + cacheWriteTokens)} in, ${count(outputTokens)} out`;
  return make("span", { title: `${count(cacheReadTokens)} of them read from the cache` }, said);
}

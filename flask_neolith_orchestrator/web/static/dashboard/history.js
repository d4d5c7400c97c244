// How a daemon has been: a line of its states for a day and a week, its availability, and a table of every change.
import { ask, query } from "../client/api.js";
import { make } from "../client/dom.js";
import { clockTime, duration } from "../client/time.js";
import { fill, say, showIf, tell } from "./inplace.js";

const HOUR = 3_600_000;
const SPANS = [
  { name: "day", text: "last 24 hours", length: 24 * HOUR, every: 6 * HOUR, tick: { hour: "numeric" } },
  { name: "week", text: "last 7 days", length: 168 * HOUR, every: 24 * HOUR, tick: { weekday: "short" } },
];
const MOST = 5; // pages of changes; a daemon that changes more often has an older part that is not drawn
const EVENTS = {
  started: "started",
  stopped: "stopped",
  died: "died",
  restarted: "started again",
  failed: "gave up",
};
const REASONS = {
  person: "by a person",
  logout: "it logged out",
  "login-expired": "its login expired",
  "socket-closed": "its connection closed",
  "no-node": "no process was there to run it",
  "not-wanted": "it was not wanted any more",
  restart: "to be restarted",
};

export class History {
  constructor(root, id) {
    this.id = id;
    this.trouble = root.querySelector("[data-trouble]");
    this.changes = root.querySelector("[data-changes]");
    this.lines = SPANS.map((span) => line(span));
    root.querySelector("[data-timelines]").append(...this.lines.map((one) => one.element));
    this.asked = 0;
  }

  async look() {
    const turn = ++this.asked;
    try {
      const found = await read(this.id);
      if (turn !== this.asked) return;
      showIf(this.trouble, false);
      this.show(found);
    } catch (error) {
      if (turn !== this.asked) return;
      say(this.trouble, `The history could not be read: ${error.message}`);
      showIf(this.trouble, true);
    }
  }

  show({ items, before, availability, isCut }) {
    const now = Date.now();
    const runs = runsOf(items, isCut ? null : before, now);
    for (const one of this.lines) draw(one, runs, availability[one.span.name], now);
    fill(this.changes, items, () =>
      items.length
        ? items.map((item) =>
            make("tr", {}, make("td", {}, clockTime(item.at)), make("td", {}, what(item)), make("td", {}, why(item))),
          )
        : make("tr", {}, make("td", { colSpan: 3, className: "empty" }, "Nothing has changed in the last 7 days.")),
    );
  }
}

async function read(id) {
  const from = new Date(Date.now() - SPANS.at(-1).length).toISOString();
  const found = { items: [], isCut: false };
  let cursor;
  for (let page = 0; page < MOST; page++) {
    const answer = await ask("GET", `orchestrators/${id}/history${query({ from, limit: 200, cursor })}`);
    found.items.push(...answer.items);
    found.before ??= answer.before;
    found.availability ??= answer.availability;
    cursor = answer.next;
    if (!cursor) return found;
  }
  return { ...found, isCut: true };
}

// newest first becomes a list of {state, from, to}, oldest first
function runsOf(items, before, now) {
  const changes = [...items].reverse().map(({ state, at }) => ({ state, at: Date.parse(at) }));
  const all = [{ state: before?.state ?? "unknown", at: -Infinity }, ...changes];
  return all.map(({ state, at }, index) => ({ state, from: at, to: all[index + 1]?.at ?? now }));
}

function line(span) {
  const share = make("strong");
  const down = make("small", { className: "soft" });
  const bar = make("div", { className: "timeline", role: "img" });
  const ticks = make("div", { className: "timeline-ticks", "aria-hidden": "true" });
  const head = make("div", { className: "bar" }, make("span", {}, span.text), share, down);
  return { span, share, down, bar, ticks, element: make("div", { className: "span" }, head, bar, ticks) };
}

function draw({ span, share, down, bar, ticks }, runs, { percent, downMs }, now) {
  const begin = now - span.length;
  const inside = runs.filter((run) => run.to > begin).map((run) => ({ ...run, from: Math.max(run.from, begin) }));
  const hasRun = runs.some((run) => run.state !== "unknown");
  const said = percent !== null ? `${available(percent)} available` : hasRun ? "was not to run" : "has not run yet";
  say(share, said);
  say(down, percent === null || !downMs ? "" : `down for ${duration(downMs)}`);
  const at = (time) => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  fill(bar, inside, () =>
    inside.map((run) => {
      const part = make("i", {
        className: `run-${run.state}`,
        title: `${run.state} from ${at(run.from)} to ${at(run.to)}`,
      });
      // from its end on: the newest is to be seen, however short it is
      part.style.insetInlineEnd = `${((now - run.to) / span.length) * 100}%`;
      part.style.inlineSize = `${((run.to - run.from) / span.length) * 100}%`;
      return part;
    }),
  );
  const sums = {};
  for (const run of inside) sums[run.state] = (sums[run.state] ?? 0) + run.to - run.from;
  const told = Object.entries(sums).map(([state, time]) => `${state} for ${duration(time)}`);
  tell(bar, "aria-label", `${span.text}: ${said}; ${told.join(", ")}`);
  const first = Math.ceil(begin / span.every) * span.every;
  const marks = [];
  for (let time = first; time < now - span.length / 10; time += span.every) marks.push(time);
  fill(ticks, marks, () =>
    marks.map((time) => {
      const mark = make("span", {}, new Date(time).toLocaleString([], span.tick));
      mark.style.insetInlineStart = `${((time - begin) / span.length) * 100}%`;
      return mark;
    }),
  );
}

// never 100 % where something was down
function available(percent) {
  const shown = percent === 100 ? 100 : Math.min(Math.floor(percent * 100) / 100, 99.99);
  return `${shown.toLocaleString([], { maximumFractionDigits: 2 })} %`;
}

function what({ event, state }) {
  return make("span", { className: "dot", data: { status: state } }, EVENTS[event] ?? event);
}

function why({ reason, error, restarts }) {
  const said = [reason && (REASONS[reason] ?? reason.replaceAll("-", " ")), error, restarts && `restart ${restarts}`];
  return said.filter(Boolean).join(" · ") || "–";
}

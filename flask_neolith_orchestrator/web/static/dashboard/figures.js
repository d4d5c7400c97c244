// The charts of one orchestrator, or of all that one manages, over a time that one chooses.
import { ask, query } from "../client/api.js";
import { Chart } from "./chart.js";
import { chartSpecs } from "./chart_specs.js";
import { say, showIf } from "./inplace.js";

const HOUR = 3600;
const DAY = 24 * HOUR;
const local = (options) => (at) => new Date(at).toLocaleString([], options);
const short = { hour: "2-digit", minute: "2-digit" };
const weekday = { weekday: "short", day: "numeric", month: "short" };
const RANGES = {
  "1h": {
    text: "1 h",
    name: "the last hour",
    span: HOUR,
    bucket: "minute",
    step: 60,
    ticks: [300, 600, 900, 1800],
    label: short,
    tick: short,
  },
  "24h": {
    text: "24 h",
    name: "the last 24 hours",
    span: DAY,
    bucket: "hour",
    step: HOUR,
    ticks: [2 * HOUR, 3 * HOUR, 4 * HOUR, 6 * HOUR, 12 * HOUR],
    label: { weekday: "short", ...short },
    tick: { hour: "numeric" },
  },
  "7d": {
    text: "7 d",
    name: "the last 7 days",
    span: 7 * DAY,
    bucket: "hour",
    step: HOUR,
    ticks: [DAY, 2 * DAY, 4 * DAY],
    label: { ...weekday, ...short },
    tick: { day: "numeric", month: "short" },
  },
  // days begin and end by UTC, as budgets do
  "30d": {
    text: "30 d",
    name: "the last 30 days",
    span: 30 * DAY,
    bucket: "day",
    step: DAY,
    ticks: [2 * DAY, 5 * DAY, 7 * DAY, 14 * DAY],
    label: { ...weekday, timeZone: "UTC" },
    tick: { day: "numeric", month: "short", timeZone: "UTC" },
    zone: "UTC",
  },
};
const EVERY = { "1h": 15_000, "24h": 60_000, "7d": 300_000, "30d": 300_000 }; // milliseconds, at the latest

export class Figures {
  // `path` is what is asked for figures; `root` has the choice of time and the place of the charts
  constructor(root, path) {
    this.path = path;
    this.note = root.querySelector("[data-figures-note]");
    this.trouble = root.querySelector("[data-figures-trouble]");
    this.charts = chartSpecs().map((spec) => new Chart(spec));
    this.place = root.querySelector("[data-charts]");
    this.asked = 0;
    this.readAt = 0;
    this.range = "24h";
    const chosen = new URLSearchParams(location.search).get("range");
    if (Object.hasOwn(RANGES, chosen ?? "")) this.range = chosen;
    for (const choice of root.querySelectorAll("[name=range]")) {
      choice.checked = choice.value === this.range;
      choice.addEventListener("change", () => this.choose(choice.value));
    }
    const redraw = () => this.charts.forEach((chart) => chart.redraw());
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    setInterval(() => {
      if (!document.hidden && Date.now() - this.readAt > EVERY[this.range]) this.look();
    }, 5000);
  }

  choose(range) {
    this.range = range;
    const address = new URL(location.href);
    address.searchParams.set("range", range);
    history.replaceState(null, "", address);
    this.look();
  }

  async look() {
    const range = RANGES[this.range];
    const turn = ++this.asked;
    this.readAt = Date.now();
    this.place.setAttribute("aria-busy", "true");
    try {
      const from = new Date(this.readAt - range.span * 1000).toISOString();
      const figures = await ask("GET", `${this.path}${query({ from, bucket: range.bucket })}`);
      if (turn === this.asked) this.show(figures, range);
    } catch (error) {
      if (turn !== this.asked) return;
      say(this.trouble, `The figures could not be read: ${error.message}`);
      showIf(this.trouble, true);
    } finally {
      if (turn === this.asked) this.place.removeAttribute("aria-busy");
    }
  }

  show(figures, range) {
    const span = {
      ...range,
      from: Date.parse(figures.from) / 1000,
      to: Math.max(Date.parse(figures.to), Date.parse(figures.items.at(-1).at) + range.step * 1000) / 1000,
      zone: range.zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
      label: local(range.label),
      tick: (at) => local(range.tick)(at * 1000),
    };
    showIf(this.trouble, false);
    if (!this.place.contains(this.charts[0].element))
      this.place.replaceChildren(...this.charts.map((chart) => chart.element));
    for (const chart of this.charts) chart.show(figures, span);
    say(this.note, remark(figures, range.step * 1000));
    showIf(this.note, this.note.textContent);
  }
}

function remark({ complete, countedFrom, since, from }, step) {
  const when = (iso) => new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  if (!complete)
    return `There is too much to count all of it: only what happened since ${when(countedFrom)} is in these figures.`;
  return since && Date.parse(since) - Date.parse(from) > step
    ? `What ended before ${when(since)} is not kept any more, and not in these figures.`
    : "";
}

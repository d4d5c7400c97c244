// Times, durations and numbers as people read them. Times come as ISO 8601, durations in milliseconds.
import { make } from "./dom.js";

const UNITS = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];

export function clockTime(iso) {
  if (!iso) return make("span", {}, "–");
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const shown = at.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "short", timeStyle: "short" });
  return make("time", { dateTime: iso, title: at.toLocaleString() }, shown);
}

// "1 h 5 min", "850 ms", "–" for null
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const parts = [];
  let rest = Math.floor(milliseconds / 1000);
  for (const [size, unit] of UNITS) {
    if (rest >= size) parts.push(`${Math.floor(rest / size)} ${unit}`);
    rest %= size;
  }
  return parts.slice(0, 2).join(" ");
}

export function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString();
}

// dollars; what has no price is not free
export function dollars(cost) {
  if (cost === null || cost === undefined) return "–";
  const amount = Number(cost);
  const digits = amount !== 0 && Math.abs(amount) < 0.01 ? 6 : 2;
  return `$${amount.toLocaleString([], { minimumFractionDigits: 2, maximumFractionDigits: digits })}`;
}

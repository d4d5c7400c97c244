// What the charts show: which figures of the API, in which unit, colour and words.
import { count, dollars, duration } from "../client/time.js";

const seconds = (milliseconds) => (milliseconds === null ? null : milliseconds / 1000);
const took = (value) => (value === null ? "–" : duration(value * 1000));
const compact = (value) => value.toLocaleString([], { notation: "compact", maximumFractionDigits: 1 });
const both = (label, hue, name) => [
  { label: `${label}, median`, hue, of: (item) => seconds(item[name].p50) },
  { label: `${label}, 95 %`, short: "95 %", hue, isDashed: true, of: (item) => seconds(item[name].p95) },
];
const failure = (label, hue, name) => ({ label, hue, of: (item) => item.failures[name] });
const nothing = "Nothing happened in this time.";

export const chartSpecs = () => [
  {
    title: "Answers",
    unit: "messages answered",
    kind: "bars",
    areWhole: true,
    format: count,
    axis: compact,
    nothing,
    whole: (all) => count(all.answered),
    series: [{ label: "Answered", hue: 1, of: (item) => item.answered }],
  },
  {
    title: "Latency",
    unit: "seconds from the question on",
    kind: "lines",
    format: took,
    axis: (value) => `${compact(value)} s`,
    nothing: "No answers in this time.",
    whole: (all) => (all.totalMs.p50 === null ? "" : `median ${duration(all.totalMs.p50)}`),
    series: [
      ...both("Waiting", 2, "waitingMs"),
      ...both("First text", 3, "firstTextMs"),
      ...both("Total", 1, "totalMs"),
    ],
  },
  {
    title: "Failures",
    unit: "messages",
    kind: "bars",
    areWhole: true,
    format: count,
    axis: compact,
    nothing: "No failures in this time.",
    whole: ({ failures }) => count(Object.values(failures).reduce((sum, one) => sum + one, 0)),
    series: [
      failure("Failed", 4, "failed"),
      failure("Expired", 2, "expired"),
      failure("Refused", 5, "refused"),
      failure("Stopped by people", 3, "interrupted"),
      failure("Cancelled", 6, "cancelled"),
    ],
  },
  {
    title: "Tokens",
    unit: "tokens",
    kind: "bars",
    format: compact,
    axis: compact,
    nothing,
    whole: (all) => compact(all.inputTokens + all.outputTokens + all.cacheReadTokens + all.cacheWriteTokens),
    series: [
      { label: "Output", hue: 1, of: (item) => item.outputTokens },
      { label: "Input", hue: 2, of: (item) => item.inputTokens },
      { label: "Read from cache", hue: 3, of: (item) => item.cacheReadTokens },
      { label: "Written to cache", hue: 6, of: (item) => item.cacheWriteTokens },
    ],
  },
  {
    title: "Cost",
    unit: "US dollars",
    kind: "bars",
    format: dollars,
    axis: (value) =>
      `$${value.toLocaleString([], { minimumFractionDigits: value % 1 ? 2 : 0, maximumFractionDigits: 4 })}`,
    nothing: "Nothing with a known price in this time.",
    whole: (all) => dollars(all.cost) + (all.unpriced ? ` + ${count(all.unpriced)} calls without a price` : ""),
    series: [{ label: "Cost", hue: 1, of: (item) => Number(item.cost) }],
  },
];

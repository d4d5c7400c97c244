// The parts of the budgets' page: one period with its limits, amounts of money, and sums of what was spent.
import { make } from "../client/dom.js";
import { clockTime, count, dollars, duration } from "../client/time.js";

const PERIODS = { hour: "This hour", day: "Today", month: "This month" };
const NEAR = 75; // percent

// what has no price is not free
export function money({ cost, unpriced, calls }) {
  if (!unpriced) return dollars(cost ?? "0");
  const note = make("small", {}, unpriced === 1 ? "1 call has no known price" : `${count(unpriced)} calls have no known price`);
  return cost === null || unpriced === calls ? ["unpriced", calls > 1 ? note : null] : [`${dollars(cost)} and more`, note];
}

// rows of one model or day added up, in the order of the first of each
export function sums(items, name) {
  const found = new Map();
  for (const one of items) {
    const sum = found.get(one[name]) ?? { name: one[name], calls: 0, unpriced: 0, tokens: 0, cost: null };
    found.set(one[name], {
      ...sum,
      calls: sum.calls + one.calls,
      unpriced: sum.unpriced + one.unpriced,
      tokens: sum.tokens + one.inputTokens + one.outputTokens + one.cacheReadTokens + one.cacheWriteTokens,
      cost: one.cost === null ? sum.cost : (Number(sum.cost ?? 0) + Number(one.cost)).toFixed(6),
    });
  }
  return [...found.values()];
}

export function period({ period: name, endsAt, tokens, cost, replies, percent, unpriced, paused }, kind) {
  return make("article", { className: "card period" },
    make("div", { className: "bar apart" }, make("h3", {}, PERIODS[name] ?? name), state(percent, paused)),
    paused ? make("p", { className: "note" }, paused.reason === "replies"
      ? "It has given all the answers that it may." : "A call did not fit into what was left.",
    " Questions wait", paused.until ? [" until ", clockTime(paused.until)] : null, ".") : null,
    amount("Dollars", cost, dollars, unpriced),
    amount("Tokens", tokens, count),
    kind === "orchestrator" ? amount("Answers", { reserved: 0, ...replies }, count) : null,
    make("p", { className: "soft" }, "Begins anew at ", clockTime(endsAt), `, in ${duration(new Date(endsAt) - Date.now())}.`));
}

function state(percent, paused) {
  if (paused) return make("span", { className: "dot", data: { status: "failed" } }, "used up");
  if (percent === null) return make("span", { className: "soft" }, "no limit");
  const near = percent >= NEAR;
  return make("span", { className: "dot", data: { status: near ? "parked" : "done" } },
    `${near ? "nearly used up: " : ""}${percent.toLocaleString()} %`);
}

function amount(title, { limit, used, reserved }, show, unpriced = 0) {
  const [most, gone, held] = [limit, used, reserved].map((one) => (one === null ? null : Number(one)));
  const pairs = [["used", show(used)]];
  if (held) pairs.push(["reserved", show(reserved)]);
  pairs.push(["limit", most === null ? "none" : show(limit)]);
  if (most !== null) pairs.push(["left", show(Math.max(0, most - gone - held))]);
  const text = most === null ? `${title}: ${show(used)}, no limit` : `${title}: ${show(used)} of ${show(limit)}`;
  return make("div", { className: "amount" },
    make("h4", {}, title),
    most === null ? null : make("progress", { value: Math.min(gone + held, most), max: most || 1, "aria-label": text,
      className: most && (gone + held) / most >= NEAR / 100 ? "near" : "" }),
    make("dl", { className: "pairs across" }, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    unpriced ? make("small", { className: "soft" }, `${unpriced === 1 ? "1 call has" : `${count(unpriced)} calls have`} no known price: `
      + "the tokens are counted, the dollars are not. Add the price to NEOLITH_PRICES.") : null);
}

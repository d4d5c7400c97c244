// The figures on top of the overview: sums over all daemons, today's answers and cost, and what is left of budgets.
import { ask, query } from "../client/api.js";
import { count, dollars } from "../client/time.js";
import { FILTERS } from "./daemon_table.js";
import { say, showIf, tell } from "./inplace.js";

const MOST = 10; // organizations whose budgets are looked at

export class Sums {
  // `grown` is called when more has been answered than at the last look
  constructor(root, grown) {
    this.of = (name) => root.querySelector(`[data-sum=${name}]`);
    this.grown = grown;
    this.organizations = new Map();
    this.answered = null;
    this.asked = 0;
  }

  show(known) {
    const all = [...known.values()];
    const number = (filter) => all.filter(FILTERS[filter]).length;
    const sum = (value) => all.reduce((total, one) => total + (value(one) ?? 0), 0);
    const trouble = number("trouble");
    const failed = sum((one) => (one.canManage ? (one.health.deadLetters ?? one.health.failed) : 0));
    const [active, waiting] = [sum((one) => one.health.activeConversations), sum((one) => one.health.queued)];
    this.put("running", count(number("running")), `of ${count(all.length)}`);
    this.put("active", count(active), "answers");
    this.put("waiting", count(waiting), "messages");
    this.put("trouble", count(trouble), trouble ? "in error" : "all is well", trouble ? "bad" : null);
    this.put("failed", count(failed), failed ? "to look at" : "none", failed ? "bad" : null);
    const paused = number("paused");
    this.put("paused", count(paused), paused ? "no answers" : "nobody");
    showIf(this.of("paused"), paused);
  }

  put(name, value, remark, mood = null) {
    const place = this.of(name);
    say(place.querySelector("strong"), value);
    say(place.querySelector("small"), remark);
    tell(place, "data-mood", mood);
  }

  async read() {
    const turn = ++this.asked;
    const midnight = new Date();
    midnight.setHours(0, 0, 0, 0);
    try {
      const [me, today] = await Promise.all([
        ask("GET", "me"),
        ask("GET", `figures${query({ from: midnight.toISOString(), bucket: "hour" })}`),
      ]);
      if (turn !== this.asked) return;
      const managed = me.organizations.filter((one) => one.manages);
      if (me.organizations.length > 1)
        this.organizations = new Map(me.organizations.map((one) => [one.id, one.name]));
      const { answered, cost, unpriced } = today.totals;
      this.put("answers", count(answered), "today");
      this.put("cost", dollars(cost), unpriced ? `today, and ${count(unpriced)} without a price` : "today");
      if (this.answered !== null && answered > this.answered) this.grown();
      this.answered = answered;
      const budgets = await Promise.all(managed.slice(0, MOST).map((one) => readBudget(one)));
      if (turn === this.asked) this.showBudget(budgets.flat(), managed.length > MOST);
    } catch {
      // the list of daemons says that nothing answers; these figures stay as they are until the next look
    }
  }

  showBudget(periods, isPart) {
    const limited = periods.filter((one) => one.percent !== null).sort((a, b) => b.percent - a.percent);
    if (!limited.length) {
      this.put("budget", "–", isPart ? `no limit in ${MOST} organizations` : "no limit set");
      return;
    }
    const [worst] = limited;
    const several = new Set(periods.map((one) => one.name)).size > 1;
    const mood = worst.paused || worst.percent >= 100 ? "bad" : worst.percent >= 75 ? "busy" : null;
    const said = worst.paused ? "spent: nobody answers" : `of this ${worst.period}`;
    const where = isPart ? `, ${worst.name}, of ${MOST} organizations` : several ? `, ${worst.name}` : "";
    this.put("budget", `${count(Math.round(worst.percent))} %`, said + where, mood);
  }
}

async function readBudget({ id, name }) {
  const { periods } = await ask("GET", `organizations/${id}/budget`);
  return periods.map((one) => ({ ...one, name }));
}

// The errors of a daemon: their number, opened to the list with times. An open list stays open.
import { make } from "../client/dom.js";
import { clockTime } from "../client/time.js";
import { fill, say, showIf } from "./inplace.js";

export class Errors {
  constructor(name, { open = false, most = 5 } = {}) {
    this.most = most;
    this.none = make("span", { className: "soft" }, "none");
    this.summary = make("summary");
    this.list = make("ul");
    this.details = make("details", { className: "errors", open, hidden: true }, this.summary, this.list);
    this.element = make("div", {}, this.none, this.details);
    this.name = name;
  }

  show(health) {
    const errors = (health.errors ?? []).slice(-this.most).reverse();
    const number = health.errors?.length ?? 0;
    const isThere = number > 0 || Boolean(health.lastError);
    showIf(this.none, !isThere);
    showIf(this.details, isThere);
    if (!isThere) return;
    say(this.summary, number === 0 ? "gave up" : number === 1 ? "1 error" : `${number} errors`);
    fill(this.list, [health.lastError, errors], () => [
      health.lastError && make("li", {}, make("strong", {}, "Gave up: "), health.lastError),
      ...errors.map((error) => make("li", {}, clockTime(error.at), ` ${sentence(error)}`)),
      number > errors.length ? make("li", { className: "soft" }, `and ${number - errors.length} older ones`) : null,
    ]);
  }
}

function sentence({ kind, message }) {
  return message ? `${kind}: ${message}` : kind;
}

// The errors of a daemon: how many, and the list with times, the newest first.
import { make } from "../client/dom.js";
import { clockTime } from "../client/time.js";
import { fill, say, showIf } from "./inplace.js";

// "2 errors", "gave up", or "" where all is well
export function errorText({ errors, lastError }) {
  if (!errors?.length) return lastError ? "gave up" : "";
  return errors.length === 1 ? "1 error" : `${errors.length} errors`;
}

// into a <ul>; it is made anew only when something has changed
export function listErrors(list, { errors = [], lastError }, most) {
  const shown = errors.slice(-most).reverse();
  fill(list, [lastError, shown, errors.length], () => [
    lastError ? make("li", {}, make("strong", {}, "Gave up: "), lastError) : null,
    ...shown.map(({ at, kind, message }) =>
      make("li", {}, clockTime(at), ` ${message ? `${kind}: ${message}` : kind}`),
    ),
    errors.length > shown.length
      ? make("li", { className: "soft" }, `and ${errors.length - shown.length} older ones`)
      : null,
  ]);
}

// a list that can be opened, and stays as it is while its content changes
export class Errors {
  constructor(most) {
    this.most = most;
    this.none = make("p", { className: "soft" }, "No errors.");
    this.summary = make("summary");
    this.list = make("ul");
    this.details = make("details", { className: "errors", open: true, hidden: true }, this.summary, this.list);
    this.element = make("div", {}, this.none, this.details);
  }

  show(health) {
    const text = errorText(health);
    showIf(this.none, !text);
    showIf(this.details, text);
    say(this.summary, text);
    listErrors(this.list, health, this.most);
  }
}

// Rows of a table by key: only what has changed is made anew, and the focus stays where it is in its row.
import { make } from "../client/dom.js";

// `cells` of one item: a list of elements or texts, one for each column. Rows are in the order of the items.
export class Rows {
  constructor(body, cells, key = (item) => item.id) {
    this.body = body;
    this.cells = cells;
    this.key = key;
    this.known = new Map(); // key -> {row, as}
    this.labels = [...body.closest("table").querySelectorAll("thead th")].map((one) =>
      one.querySelector(".unseen") ? "" : one.textContent.trim());
  }

  show(items) {
    const wanted = new Set(items.map(this.key));
    for (const [key, { row }] of this.known) {
      if (wanted.has(key)) continue;
      row.remove();
      this.known.delete(key);
    }
    let before = null;
    for (const item of items) {
      const row = this.#row(item);
      const next = before ? before.nextElementSibling : this.body.firstElementChild;
      if (row !== next) this.body.insertBefore(row, next);
      before = row;
    }
  }

  #row(item) {
    const key = this.key(item);
    const as = JSON.stringify(item);
    const known = this.known.get(key);
    if (known?.as === as) return known.row;
    const cells = this.cells(item).map((content, place) => this.#cell(content, place));
    const row = known?.row ?? make("tr", { data: { key } });
    const focused = row.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
    const open = [...row.querySelectorAll("details")].map((one) => one.open);
    row.replaceChildren(...cells);
    row.querySelectorAll("details").forEach((one, place) => (one.open = open[place] ?? one.open));
    if (focused) focusOn(row, focused);
    this.known.set(key, { row, as });
    return row;
  }

  #cell(content, place) {
    const parts = Array.isArray(content) ? content : [content];
    const cell = place === this.heading ? make("th", { scope: "row" }) : make("td");
    cell.dataset.label = this.labels[place] ?? "";
    const given = parts.filter((one) => one !== null && one !== undefined && one !== "");
    cell.append(make("div", {}, ...given));
    cell.classList.toggle("none", !given.length);
    return cell;
  }

  heading = 0; // which column names the row
}

function focusOn(row, action) {
  const same = row.querySelector(`[data-action="${action}"]:not(:disabled)`);
  (same ?? row.querySelector("button:not(:disabled), a, input:not(:disabled)"))?.focus();
}

// What the charter editor says of a draft: problems, warnings, what would be less safe, and what changes.
import { button, make } from "../client/dom.js";
import { changes, shown } from "./charter_paths.js";

export function showReport(box, { problems, warnings, weakenings }, { where, busy }) {
  const parts = [];
  if (problems.length) {
    parts.push(make("p", { className: "dot", data: { status: "failed" } },
      `It cannot be saved: ${problems.length === 1 ? "1 problem" : `${problems.length} problems`}`));
    parts.push(make("ul", { className: "plain problems" }, ...problems.map((one) => make("li", {}, ...problem(one, where)))));
  } else {
    parts.push(make("p", { className: "dot", data: { status: "done" } }, "It can be saved."));
  }
  if (weakenings.length) {
    parts.push(make("h3", {}, "Less safe than now"), list(weakenings.map((one) => one.text)),
      make("p", { className: "soft" }, "Saving asks you to confirm this."));
  }
  if (warnings.length) parts.push(make("h3", {}, "Worth knowing"), list(warnings));
  box.setAttribute("aria-busy", String(Boolean(busy)));
  if (box.textContent !== parts.map((one) => one.textContent).join("")) box.replaceChildren(...parts);
}

function problem({ at, problem, line }, where) {
  const place = line ? `Line ${line}` : at;
  const go = button("go", place, () => where({ at, line }));
  go.className = "link";
  return [go, line && !/^line /.test(at) ? make("code", {}, at) : null, ` ${problem}`].filter(Boolean);
}

export function list(texts) {
  return make("ul", {}, ...texts.map((text) => make("li", {}, text)));
}

// a table of what differs; `names` are the headings of the two values
export function changeTable(found, names = ["Now", "Then"]) {
  if (!found.length) return make("p", { className: "empty" }, "Nothing differs.");
  const head = ["Field", ...names].map((text) => make("th", { scope: "col" }, text));
  const rows = found.map(({ path, before, after }) => make("tr", {},
    make("th", { scope: "row" }, make("code", {}, path)),
    cell(before, names[0], "del"), cell(after, names[1], "ins")));
  return make("table", { className: "folds changes" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function cell(value, label, tag) {
  const text = shown(value);
  return make("td", { data: { label } }, text ? make(tag, {}, text) : make("span", { className: "soft" }, "not said"));
}

export function showChanges(card, before, after) {
  const found = changes(before, after);
  card.hidden = !found.length;
  card.querySelector(".tag").textContent = found.length;
  card.querySelector("div").replaceChildren(changeTable(found, ["Saved", "Yours"]));
}

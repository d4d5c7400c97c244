// Somebody was faster: what they have changed beside what I have, field by field, and a charter of both.
import { make } from "../client/dom.js";
import { conflicts, get, set, shown } from "./charter_paths.js";
import { asked } from "./dialog.js";

// resolves to the fields to go on with, or to null where nothing was decided
export async function settled({ base, theirs, mine, who, version }) {
  const found = conflicts(base, theirs, mine);
  if (!found.length) return theirs;
  const rows = found.map((one, place) => make("tr", {},
    make("th", { scope: "row" }, make("code", {}, one.path), one.both ? make("small", {}, "changed by both") : null),
    make("td", { data: { label: "Before" } }, shown(one.was) || "not said"),
    side(one, place, "theirs", `Version ${version}`),
    side(one, place, "mine", "Yours")));
  const head = ["Field", "Before", `Version ${version}`, "Yours"].map((text) => make("th", { scope: "col" }, text));
  const answer = await asked({
    title: "It was changed meanwhile",
    body: [
      make("p", {}, `${who} saved version ${version} while you were writing. Choose for each field what shall be there; nothing `
        + "is saved yet. With Cancel you keep what you have typed."),
      make("table", { className: "folds changes" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
    ],
    confirm: "Go on with these",
    wide: true,
  });
  if (!answer) return null;
  return found.reduce((made, { path }, place) => set(made, path, get(answer[`f${place}`] === "mine" ? mine : theirs, path)), theirs);
}

function side(one, place, whose, label) {
  const input = make("input", { type: "radio", name: `f${place}`, value: whose, checked: one.keep === whose });
  return make("td", { data: { label } }, make("label", { className: "line" }, input, shown(one[whose]) || "not said"));
}

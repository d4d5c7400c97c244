// Who somebody is at a glance: initials on a colour that is always the same for an id. No picture is fetched.
import { make } from "/neolith/static/client/dom.js";

const COLOURS = 10; // pages.py and style.css know them, too

function initials(name) {
  const words = name.trim().split(/\s+/u);
  const first = [...(words[0] ?? "?")][0] ?? "?";
  const last = words.length > 1 ? [...words.at(-1)][0] : "";
  return (first + last).toUpperCase();
}

function colourOf(id) {
  let sum = 0;
  for (const sign of String(id ?? "")) sum = (sum * 10 + sign.charCodeAt(0) - 48) % 1_000_000;
  return sum % COLOURS;
}

export function avatar({ id, name, isOrchestrator }) {
  const data = { colour: colourOf(id), kind: isOrchestrator ? "ai" : "person" };
  return make("span", { className: "avatar", data, "aria-hidden": "true" }, initials(name));
}

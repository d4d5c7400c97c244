// What the pages of the dashboard share: looking again and again, and saying how that went.
import { ask, query } from "../client/api.js";
import { atMostEvery, make, showTrouble } from "../client/dom.js";
import { connect, keepLooking } from "../client/live.js";

const SOON = 150; // milliseconds
const EVERY = 30_000; // what nothing tells, such as deeds of another process without a message queue, is read then
const $ = (id) => document.getElementById(id);

// runs `look` now, at each of `events`, at each new connection and every half minute; the answer looks again at once
export function watch(events, look) {
  let running = false;
  let more = false;
  const run = async () => {
    more = running;
    if (running) return; // a slow answer must not overwrite a newer one
    running = true;
    try {
      await look();
      showTrouble($("stale"), "");
    } catch (error) {
      if (error.name === "AbortError") return;
      showTrouble($("stale"), `${error.message} What you see may be old; it is read again by itself.`);
    } finally {
      if ($("loading")) $("loading").hidden = true;
      running = false;
      if (more) run();
    }
  };
  const socket = connect();
  keepLooking(socket, events, atMostEvery(SOON, run));
  setInterval(() => {
    if (!document.hidden) run();
  }, EVERY);
  return { again: run, socket };
}

// a deed of a button: what went wrong is told above, what went well beside it
export async function doing(element, deed) {
  element?.setAttribute("aria-busy", "true");
  try {
    const told = await deed();
    showTrouble($("notice"), "");
    if (told) say(told);
    return true;
  } catch (error) {
    say("");
    showTrouble($("notice"), error.message);
    return false;
  } finally {
    element?.removeAttribute("aria-busy");
  }
}

export function say(text) {
  showTrouble($("said"), text);
}

// pages of a list, as far as `until` says and at most `most` items: {items, more}
export async function some(path, values, most, until = () => false) {
  const items = [];
  let cursor;
  do {
    const page = await ask("GET", `${path}${query({ limit: 100, ...values, cursor })}`);
    const end = page.items.findIndex(until);
    items.push(...(end < 0 ? page.items : page.items.slice(0, end)));
    cursor = end < 0 ? page.next : null;
  } while (cursor && items.length < most);
  return { items: items.slice(0, most), more: Boolean(cursor) || items.length > most };
}

// the filter of a page: fields of the form by name, kept in the address so that it can be sent to somebody
export function filter(form, changed) {
  const known = new URLSearchParams(location.search);
  for (const [name, value] of known) {
    const one = form.elements[name];
    if (!one) continue;
    if (one.tagName === "SELECT" && ![...one.options].some((option) => option.value === value)) one.add(new Option(value, value));
    one.value = value;
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    history.replaceState(null, "", `${location.pathname}${query(values())}`);
    changed();
  });
  const values = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  return values;
}

// names of things in a select, which may come later than what was chosen
export function offer(select, pairs) {
  const chosen = select.value;
  const first = select.options[0];
  select.replaceChildren(first, ...pairs.map(([value, text]) => new Option(text, value)));
  if (chosen && !pairs.some(([value]) => value === chosen)) select.add(new Option(chosen, chosen));
  select.value = chosen;
}

export function address(path) {
  return `${document.body.dataset.root.replace(/\/$/, "")}/${path}`;
}

export function link(path, text, more = {}) {
  return make("a", { href: address(path), ...more }, text);
}

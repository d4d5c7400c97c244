// For who cannot see: says once who begins to write and once what was written, never every word; beside it, for all,
// who is thinking or writing.
import { make } from "/neolith/static/client/dom.js";

const SAID = 300; // characters
const PATIENCE = 1000; // milliseconds that a message may be on its way
const ENDS = { asks: "asks for approval", interrupted: "was interrupted", failed: "failed" };

export class Announcer {
  // changed(doing): user id -> "thinking" or "writing"
  constructor({ me, region, places, changed }) {
    this.me = me;
    this.region = region;
    this.places = places; // [element, threadId()] of each line
    this.changed = changed;
    this.open = new Map(); // message id -> {message, phase}
    this.stuck = new Map(); // clientId -> {why, timer} of messages of one's own that are not sent
  }

  begins({ author, state }) {
    if (author.id !== this.me && state === "streaming") this.region.textContent = `${author.name} is writing.`;
  }

  ends(message) {
    const { author, state, approval } = message;
    if (author.id === this.me || state === "streaming") return;
    const goesOn = state === "interrupted" && message.notice;
    const said = goesOn ? "" : ` ${ENDS[approval ? "asks" : state] ?? "wrote"}`;
    const text = ((!goesOn && words(message)) || message.notice || "").slice(0, SAID);
    this.region.textContent = `${author.name}${said}${text ? `: ${text}` : "."}`;
  }

  // messages of one's own that the server does not have: said when one is refused, and when one waits for a while
  unsent(messages) {
    const all = new Map([...messages].map((one) => [one.clientId, one]));
    for (const [clientId, { timer }] of this.stuck) {
      if (all.has(clientId)) continue;
      clearTimeout(timer);
      this.stuck.delete(clientId);
    }
    for (const [clientId, { sending, isRefused }] of all) {
      const why = isRefused ? "refused" : sending === "sending" ? "sending" : "waits";
      const before = this.stuck.get(clientId);
      if (before?.why === why) continue;
      clearTimeout(before?.timer);
      const say = () => (this.region.textContent = sending);
      this.stuck.set(clientId, { why, timer: why === "sending" ? null : setTimeout(say, isRefused ? 0 : PATIENCE) });
    }
  }

  // a message has changed: perhaps its author begins to write or has ended
  look(message) {
    const before = this.open.get(message.id)?.phase;
    const phase = message.state === "streaming" && !message.deleted ? (message.content ? "writing" : "thinking") : undefined;
    if (phase) this.open.set(message.id, { message, phase });
    else this.open.delete(message.id);
    if (phase !== before) this.#show();
  }

  // the list was read anew: what is not there any more is not being written
  keep(isThere) {
    this.isAway = false;
    for (const id of this.open.keys()) if (!isThere(id)) this.open.delete(id);
    this.#show();
  }

  // the server is away: nobody knows who is writing
  rest() {
    this.isAway = true;
    this.#show();
  }

  #show() {
    const all = this.isAway ? [] : [...this.open.values()];
    for (const [place, threadId] of this.places) {
      const wanted = threadId();
      const here = wanted === undefined ? [] : all.filter(({ message }) => wanted === null || message.threadId === wanted);
      place.textContent = sentence(here);
    }
    this.changed(new Map(all.map(({ message, phase }) => [message.author.id, phase])));
  }
}

// as it is read on the page, without the signs of Markdown; a template's content is inert
function words({ html, content }) {
  if (!html) return content;
  const text = make("template", { innerHTML: html }).content.textContent;
  return text.replace(/\s+/gu, " ").trim();
}

function sentence(all) {
  const phases = new Map();
  for (const { message, phase } of all) if (phases.get(message.author.name) !== "writing") phases.set(message.author.name, phase);
  const parts = ["thinking", "writing"].map((phase) => [phase, [...phases].filter(([, one]) => one === phase).map(([name]) => name)]);
  return parts
    .filter(([, names]) => names.length)
    .map(([phase, names]) => `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} ${phase} …`)
    .join(" ");
}

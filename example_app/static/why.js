// Why somebody answered or did not, in a sentence for each orchestrator of the channel.
import { ask } from "/neolith/static/client/api.js";
import { make } from "/neolith/static/client/dom.js";
import { openPopover } from "./popover.js";

const STATES = {
  waiting: "It waits.",
  running: "It is being answered.",
  parked: "It waits for an approval.",
  answered: "It was answered.",
  failed: "The answer failed.",
  expired: "It waited too long and was left.",
  refused: "It was refused.",
  cancelled: "It was cancelled.",
};
const HELD = { hours: "It waits for office hours.", budget: "It waits, because the budget is spent." };

function row({ name, handle, wakes, sentence, delivery }) {
  const then = delivery ? (HELD[delivery.held] ?? STATES[delivery.state] ?? "") : "";
  const meant = wakes || delivery ? "is meant" : "is not meant";
  return make(
    "li",
    {},
    make("p", {}, make("b", {}, name), ` @${handle} `, make("span", { className: wakes || delivery ? "yes" : "soft" }, meant)),
    make("p", { className: "soft" }, [sentence, then].filter(Boolean).join(" ")),
  );
}

// of an answer its question is explained
export function openWhy(anchor, message) {
  const id = message.author.isOrchestrator && message.replyToId ? message.replyToId : message.id;
  const answered = message.author.isOrchestrator ? message.author.id : null;
  const place = make("div", { tabIndex: -1 }, make("p", { className: "soft", role: "status" }, "Looking …"));
  const title = answered ? `Why ${message.author.name} answered` : "Who is meant, and why";
  openPopover(anchor, title, make("h3", {}, title), place);
  ask("GET", `messages/${id}/explain`).then(
    ({ orchestrators }) => {
      const shown = answered ? orchestrators.filter((one) => one.name === message.author.name) : orchestrators;
      const rows = (shown.length ? shown : orchestrators).map(row);
      place.replaceChildren(rows.length ? make("ul", { className: "reasons" }, ...rows) : make("p", {}, "No orchestrator is in this channel."));
    },
    (error) => place.replaceChildren(make("p", { className: "note bad", role: "alert" }, error.message)),
  );
}

// On every page of the chat: the service worker, what waits to be sent, the banner, and leaving.
import { button } from "/neolith/static/client/dom.js";
import { Connection } from "./connection.js";
import { Draft } from "./drafts.js";
import { Kept } from "./kept.js";
import { Leaving } from "./leaving.js";
import { Lines } from "./lines.js";
import { Outbox } from "./outbox.js";
import { question } from "./question.js";

const SHOW = "Show";
const { me, home = "/", worker = "/service-worker.js" } = document.body.dataset;
const banner = document.getElementById("offline");
const kept = new Kept(me);
export const outbox = new Outbox(kept);
let lines = null;
let since = null; // when what is shown was true

export const connection = new Connection({ lost, back });
new Leaving({ kept, outbox, form: document.querySelector("form[data-logout]") });
outbox.watch({ changed: draw });
addEventListener("online", () => outbox.flush());

// the messages of the page's channel; call changed(message) on each change, live() when all was read. about: that of Lines
export function keepLines(about) {
  lines = new Lines({ kept, ...about });
  if (connection.isLost) lost();
  return lines;
}

export const keepDraft = (input) => new Draft(kept, input);

async function lost() {
  since = new Date().toISOString();
  if (lines?.isLive) lines.lost();
  else since = (await lines?.show()) ?? kept.lastSeen ?? since;
  draw();
}

function back() {
  kept.seen();
  draw();
  outbox.flush();
}

// -- the banner -------------------------------------------------------------------------------------------

function draw() {
  if (!banner) return;
  const waiting = outbox.entries.filter((one) => one.state === "waiting").length;
  const refused = refusals().length;
  const said = [];
  if (connection?.isLost) {
    said.push(`${navigator.onLine ? "The server does not answer" : "You are offline"}: showing what was here at ${clock(since)}. `);
    if (waiting) said.push(`${count(waiting)} will be sent when the connection is back. `);
  }
  if (refused) said.push(`${count(refused)} could not be sent. `);
  const text = said.join("");
  if (banner.textContent !== text + (refused ? SHOW : "")) {
    banner.replaceChildren(text, ...(refused ? [button("refused", SHOW, decide)] : [])); // read aloud when it changes
  }
  banner.hidden = !text;
}

function refusals() {
  return outbox.entries.filter((one) => one.state === "refused");
}

// also where the page of the channel cannot be opened any more
async function decide() {
  for (const { clientId, content, reason } of refusals()) {
    const choice = await question({
      title: "This could not be sent",
      text: reason,
      items: [content],
      choices: [
        ["later", "Decide later", "main"],
        ["again", "Send again"],
        ["discard", "Discard", "harm"],
      ],
    });
    if (choice === "again") await outbox.again(clientId);
    else if (choice === "discard") await outbox.discard(clientId);
    else return;
  }
}

function count(number) {
  return number === 1 ? "One message" : `${number} messages`;
}

function clock(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  return at.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

// -- the service worker -----------------------------------------------------------------------------------

// after everything that the page itself needs
async function register() {
  const container = navigator.serviceWorker; // missing over plain HTTP from another machine
  if (!container) return;
  try {
    await container.register(worker, { updateViaCache: "none" });
    const { active } = await container.ready;
    active.postMessage({ keep: [location.pathname, home] });
  } catch {
    // forbidden by the browser's settings, or the server has just gone: the chat works without it
  }
}

if (document.readyState === "complete") register();
else addEventListener("load", register);

kept.onTaken(() => location.reload());
// a page out of the browser's memory may be that of somebody who has logged out
addEventListener("pageshow", (event) => {
  if (event.persisted && !kept.isMine) location.reload();
});

// The page of a channel: its main line, one thread beside it, and everything that happens while one looks.
import { ask } from "/neolith/static/client/api.js";
import { Approvals } from "./approvals.js";
import { Composer } from "./composer.js";
import { showTrouble } from "/neolith/static/client/dom.js";
import { LineView } from "./line.js";
import { connect } from "/neolith/static/client/live.js";
import { showPresence } from "/neolith/static/client/presence.js";
import { keepDraft, keepLines, outbox } from "./offline/start.js";
import { Reader } from "./reader.js";
import { Sender } from "./sender.js";
import { Store } from "/neolith/static/client/store.js";

const AGAIN = 2000; // milliseconds
const SPOKEN = 300; // characters
const { me, name } = document.body.dataset;
const lineSection = document.getElementById("line");
const threadSection = document.getElementById("thread");
const announcer = document.getElementById("announcer");
const channelId = lineSection.dataset.channel;
let members = [];
let openedBy = null;

const store = new Store({ me, changed, missing: (message) => reader.missing(message) });
const reader = new Reader(channelId, store);
const author = { id: me, name, handle: null, isOrchestrator: false };
const approvals = new Approvals({ me, changed: (messageId) => store.get(messageId) && changed(store.get(messageId)) });
const sender = new Sender({ channelId, store, author, changed: drawUnsent, outbox });
const actions = {
  me,
  canStop: (message) => store.asker(message) === me && (message.state === "streaming" || (message.state === "interrupted" && Boolean(message.notice))),
  stop: (message) => attempt(async () => store.put((await ask("POST", `messages/${message.id}/stop`)).message ?? message)),
  react: (message, emoji, add) =>
    attempt(async () => {
      const path = `messages/${message.id}/reactions/${encodeURIComponent(emoji)}`;
      store.put(await ask(add ? "PUT" : "DELETE", path));
    }),
  canRegenerate: (message) => isMine(message) && ["final", "interrupted"].includes(message.state) && !actions.canStop(message),
  canTryAgain: (message) => isMine(message) && message.state === "failed",
  steer: (message, what) => attempt(() => ask("POST", `messages/${message.id}/${what}`)),
  waiting: (message) => store.waiting(message.id),
  calls: (message) => approvals.calls(message),
  decide: (message, calls, decision) => attempt(() => approvals.decide(message, calls, decision)),
  again: (message) => sender.again(message),
  discard: (message) => sender.discard(message),
  rewrite: (message) => {
    (message.threadId ? drafts.thread : drafts.line).add(message.content);
    sender.discard(message);
  },
  openThread,
  loadReplies: (root) => reader.replies(root).catch(() => {}),
};
const line = new LineView(lineSection, store, actions);
const thread = new LineView(threadSection, store, actions);
const drafts = {
  line: keepDraft(lineSection.querySelector("textarea")),
  thread: keepDraft(threadSection.querySelector("textarea")),
};
drafts.line.show(channelId);
const kept = keepLines({ channelId, store });

function isMine(answer) {
  return answer.author.isOrchestrator && !answer.deleted && !answer.approval && store.asker(answer) === me;
}

function changed(message) {
  line.update(message);
  thread.update(message);
  kept.changed(message);
}

function drawUnsent() {
  line.drawUnsent();
  thread.drawUnsent();
}

async function attempt(work, section = lineSection) {
  const trouble = section.querySelector("[role=alert]");
  try {
    await work();
    showTrouble(trouble, "");
    return true;
  } catch (error) {
    showTrouble(trouble, error.message);
    return false;
  }
}

// -- threads ----------------------------------------------------------------------------------------------

async function openThread(id) {
  openedBy = document.activeElement;
  threadSection.hidden = false;
  document.body.classList.add("with-thread");
  thread.show(id);
  drafts.thread.show(channelId, id);
  threadSection.querySelector("textarea").focus();
  await attempt(() => reader.newest(id), threadSection);
  showOlder();
  thread.toEnd();
}

function closeThread() {
  threadSection.hidden = true;
  document.body.classList.remove("with-thread");
  thread.show(null);
  drafts.thread.show(null);
  openedBy?.focus();
}

function showOlder() {
  lineSection.querySelector(".older").hidden = !reader.older.get(null);
  threadSection.querySelector(".older").hidden = !reader.older.get(thread.threadId);
}

for (const [section, view, draft] of [[lineSection, line, drafts.line], [threadSection, thread, drafts.thread]]) {
  section.querySelector(".older").addEventListener("click", async () => {
    await attempt(() => view.keepingPlace(() => reader.before(view.threadId)), section);
    showOlder();
  });
  new Composer(section.querySelector(".composer"), {
    people: () => members.filter((one) => one.handle),
    send: (content) => {
      draft.sent();
      sender.send(content, view.threadId);
      view.toEnd();
    },
  });
}
threadSection.querySelector(".close").addEventListener("click", closeThread);
threadSection.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented) closeThread();
});

// -- news -------------------------------------------------------------------------------------------------

function announce(message) {
  if (message.author.id === me || message.state === "streaming") return;
  const state = message.approval ? "asks" : message.state;
  const said = { asks: "asks for approval", interrupted: "was interrupted", failed: "failed" }[state] ?? "wrote";
  announcer.textContent = `${message.author.name} ${said}: ${message.content.slice(0, SPOKEN)}`;
}

async function enter() {
  const answer = await socket.timeout(5000).emitWithAck("channel:join", { channelId });
  if (!answer.ok) throw new Error(answer.error.detail ?? answer.error.title);
  members = answer.members;
  // from here on events come; what was before them is read
  await reader.newest();
  line.forgetMissing();
  if (thread.threadId) {
    await reader.newest(thread.threadId);
    thread.forgetMissing();
  }
  drawUnsent();
  showOlder();
  line.list.dataset.ready = "yes";
  kept.live();
}

const socket = connect();
showPresence(socket);
socket.on("connect", async () => {
  line.list.dataset.ready = "no";
  while (socket.connected && !(await attempt(enter))) await new Promise((resolve) => setTimeout(resolve, AGAIN));
});
function learnPresence(all) {
  const statuses = new Map(all.map(({ userId, status }) => [userId, status]));
  for (const one of members) one.status = statuses.get(one.userId) ?? one.status;
}
socket.on("presence:snapshot", learnPresence);
socket.on("presence", (one) => learnPresence([one]));
for (const event of ["message", "message:done", "message:updated"]) {
  socket.on(event, ({ message }) => message.channelId === channelId && store.put(message));
}
for (const event of ["message", "message:done"]) socket.on(event, ({ message }) => announce(message));
socket.on("message:delta", (delta) => store.delta(delta));
socket.on("message:reset", (reset) => store.reset(reset));
socket.on("delivery:waiting", (work) => store.wait(work));
socket.on("approval:requested", (request) => approvals.hear(request));
socket.on("message:deleted", ({ messageId }) => store.remove(messageId));
socket.on("reaction", ({ messageId, reactions }) => store.react(messageId, reactions));

// The page of a channel: its main line, one thread beside it, and everything that happens while one looks.
import { ask } from "/neolith/static/client/api.js";
import { showTrouble } from "/neolith/static/client/dom.js";
import { dot } from "/neolith/static/client/presence.js";
import { Store, byAge } from "/neolith/static/client/store.js";
import { actionsOf } from "./actions.js";
import { Announcer } from "./announce.js";
import { Approvals } from "./approvals.js";
import { people, sidebar, socket } from "./frame.js";
import { History } from "./history.js";
import { LineView } from "./line.js";
import { Permalink } from "./permalink.js";
import { Reader } from "./reader.js";
import { keepDraft, keepLines, outbox } from "./offline/start.js";
import { Sender } from "./sender.js";
import { ThreadPanel } from "./thread.js";
import { Tail } from "./tail.js";
import { ReadMark } from "./unread.js";
import { done } from "./welcome.js";
import { openComposer } from "./writing.js";

const AGAIN = 2000; // milliseconds
const { me, name, welcomed } = document.body.dataset;
const lineSection = document.getElementById("line");
const threadSection = document.getElementById("thread");
const channelId = lineSection.dataset.channel;
const asked = new URLSearchParams(location.search);
let members = [];
let isFirst = true;
let newestId = null;

const store = new Store({ me, changed, missing: (message) => reader.missing(message) });
const reader = new Reader(channelId, store, batch);
const approvals = new Approvals({ me, manages: (message) => actions.manages(message), changed: (id) => store.get(id) && changed(store.get(id)) });
const sender = new Sender({ channelId, store, author: { id: me, name, handle: null, isOrchestrator: false }, changed: drawUnsent, outbox });
const actions = actionsOf({
  ...{ me, store, people, approvals, sender },
  members: () => members,
  draftOf: ({ threadId }) => (threadId ? drafts.thread : drafts.line),
  openThread: (id) => panel.open(id),
  loadReplies: (root) => reader.replies(root).catch(() => {}),
  isNew: (rootId, reply) => panel.isNew(rootId, reply),
});
const line = new LineView(lineSection, store, actions);
const thread = new LineView(threadSection, store, actions);
const drafts = {
  line: keepDraft(lineSection.querySelector("textarea")),
  thread: keepDraft(threadSection.querySelector("textarea")),
};
drafts.line.show(channelId);
const kept = keepLines({ channelId, store, batch, isNewest: (id) => !reader.hasMore("newer", id), shown: () => line.toEnd() });
const history = new History(line, reader, () => tail.look());
const threadHistory = new History(thread, reader, () => {});
const panel = new ThreadPanel({ section: threadSection, view: thread, line, reader, history: threadHistory, attempt, showDraft: (id) => drafts.thread.show(id && channelId, id) });
const mark = new ReadMark({ channelId, newest: () => newestId, isSeen: () => line.isAtEnd() && !reader.hasMore("newer", null) });
const tail = new Tail({ line, reader, history, mark, attempt });
const permalink = new Permalink({ wanted: asked.get("message"), channelId, reader, panel, line, tail });
const announcer = new Announcer({
  me,
  region: document.getElementById("announcer"),
  places: [
    [lineSection.querySelector(".doing"), () => null],
    [threadSection.querySelector(".doing"), () => thread.threadId ?? undefined],
  ],
  changed: (doing) => sidebar.showDoing(doing),
});
sidebar.isHereSeen = () => mark.isLookedAt();

function changed(message) {
  if (!newestId || byAge({ id: newestId }, message) < 0) newestId = message.id;
  line.update(message);
  thread.update(message);
  announcer.look(message);
  kept.changed(message);
  if (!line.isBatch) mark.look(); // it measures the page, which is slow while the page changes
}

function batch(work) {
  line.batch(() => thread.batch(work));
  mark.look();
}
function drawUnsent() {
  for (const view of [line, thread]) view.batch(() => {}); // it draws what is not sent, and follows the end
  announcer.unsent(store.unsent.values());
}

// an error of the page itself stands above the field one writes in
async function attempt(work, section = lineSection) {
  const trouble = section.querySelector(":scope > [role=alert]");
  try {
    await work();
    showTrouble(trouble, "");
    return true;
  } catch (error) {
    showTrouble(trouble, error.message);
    return false;
  }
}

const say = asked.get("say");
for (const [view, draft] of [[line, drafts.line], [thread, drafts.thread]]) {
  openComposer({ view, draft, sender, me, people, members: () => members, before: () => view === line && tail.comeBack() }, view === line && say);
}
if (say) window.history.replaceState(null, "", location.pathname);

// of a direct message with one orchestrator the title says whether it is there
people.onChange(() => {
  const others = members.filter((one) => one.userId !== me);
  const status = lineSection.dataset.kind === "dm" && others.length === 1 && people.get(others[0].userId)?.status;
  if (status) lineSection.querySelector(".topic").replaceChildren(dot(status));
});

document.getElementById("members").addEventListener("click", async ({ currentTarget }) => {
  const partner = members.find((one) => one.userId !== me);
  if (lineSection.dataset.kind !== "dm") (await import("./rooms.js")).openMembers(channelId, people);
  else if (partner) actions.openProfile(currentTarget, { ...partner, id: partner.userId });
});

// -- news -------------------------------------------------------------------------------------------------

// what lies beyond the ends of the list is read when one scrolls there
function take(message) {
  if (message.threadId === null && !store.get(message.id)) {
    const [oldest] = line.order;
    if (reader.hasMore("newer", null)) return tail.missed(message);
    if (oldest && reader.hasMore("older", null) && byAge(message, oldest.message) < 0) return;
  }
  store.put(message);
}

async function enter() {
  const answer = await socket.timeout(5000).emitWithAck("channel:join", { channelId });
  if (!answer.ok) throw new Error(answer.error.detail ?? answer.error.title);
  members = answer.members;
  people.tell();
  // from here on events come; what was before them is read
  if (permalink.wanted) await permalink.show();
  else if (reader.hasMore("newer", null)) await reader.around(line.order[Math.floor(line.order.length / 2)].message.id);
  else await reader.newest();
  line.forgetMissing();
  await panel.refresh();
  announcer.keep((id) => store.get(id));
  line.list.dataset.ready = "yes";
  drawUnsent();
  history.draw();
  if (isFirst) await markNew();
  isFirst = false;
  tail.look();
  kept.live();
}

// what came since the last visit is marked, once: before this visit moves the mark
async function markNew() {
  await sidebar.read();
  const { lastReadId, lastMessage, unread } = sidebar.known.get(channelId) ?? {};
  mark.begin(lastReadId ?? null);
  panel.readUntil(unread ? (lastReadId ?? "0") : null, lastMessage?.id ?? null);
  line.markNew(unread ? (lastReadId ?? "0") : null);
  if (!tail.isPinned) line.toEnd();
}

socket.on("connect", async () => {
  line.list.dataset.ready = "no";
  while (socket.connected && !(await attempt(enter))) await new Promise((resolve) => setTimeout(resolve, AGAIN));
  if (permalink.gone) await attempt(() => permalink.complain());
});
socket.on("disconnect", () => announcer.rest());
function hear(event, work) {
  socket.on(event, ({ message }) => message.channelId === channelId && work(message));
}

for (const event of ["message", "message:done", "message:updated"]) hear(event, take);
hear("message", (message) => {
  announcer.begins(message);
  tail.count(message);
  panel.hear(message, mark.isLookedAt());
});
for (const event of ["message", "message:done"]) hear(event, (message) => announcer.ends(message));
let isNewHere = Boolean(welcomed);
hear("message:done", (message) => {
  if (!isNewHere || message.state !== "final" || store.asker(message) !== me) return;
  isNewHere = false;
  done(welcomed); // the first answer is there: the hint at home has done its work
});
socket.on("message:delta", (delta) => store.delta(delta));
socket.on("message:reset", (reset) => store.reset(reset));
socket.on("delivery:waiting", (work) => store.wait(work));
socket.on("approval:requested", (request) => approvals.hear(request));
socket.on("message:deleted", ({ messageId }) => store.remove(messageId));
socket.on("reaction", ({ messageId, reactions }) => store.react(messageId, reactions));

// What a person may do with the messages of a channel, and how it is done. What is refused is raised: the message that
// was acted on shows it.
import { ask } from "/neolith/static/client/api.js";
import { button, make } from "/neolith/static/client/dom.js";
import { openPopover } from "./popover.js";
import { openProfile } from "./profile.js";

// page: {me, channelId, store, people, members(), approvals, sender, openThread(id), loadReplies(root), isNew(id, reply)}
export function actionsOf(page) {
  const { me, store, people, approvals, sender } = page;
  const orchestratorOf = (message) => people.get(message.author.id)?.orchestratorId;
  const maySteer = (answer) =>
    answer.author.isOrchestrator && !answer.deleted && (store.asker(answer) === me || Boolean(people.get(answer.author.id)?.canManage));
  const isWritten = ({ state, notice }) => state === "streaming" || (state === "interrupted" && Boolean(notice));
  const canStop = (message) => store.asker(message) === me && isWritten(message);
  const canRegenerate = (message) => maySteer(message) && !message.approval && ["final", "interrupted"].includes(message.state) && !isWritten(message);
  const canTryAgain = (message) => maySteer(message) && !message.approval && message.state === "failed";

  const actions = {
    me,
    maySteer,
    names: (word) => byName(page.members(), word),
    nameOf: (id) => (id === me ? "You" : (people.get(id)?.name ?? page.members().find((one) => one.userId === id)?.name)),
    addressOf: (id) => `${location.pathname}?message=${id}`,
    may: (message) => [canStop(message), canRegenerate(message), canTryAgain(message)],
    waiting: (message) => store.waiting(message.id),
    answering: ({ id }) => store.answering(id).map(({ author }) => author.name),
    calls: (message) => approvals.calls(message),
    mayDecide: (message, call) => approvals.may(message, call),
    decide: (message, calls, decision) => approvals.decide(message, calls, decision),
    manages: (message) => people.manages(orchestratorOf(message)),
    stop: async (message) => store.put((await ask("POST", `messages/${message.id}/stop`)).message ?? message),
    steer: (message, what) => ask("POST", `messages/${message.id}/${what}`),
    edit: async (message, content) => store.put(await ask("PATCH", `messages/${message.id}`, { content })),
    react: async (message, emoji, add) =>
      store.put(await ask(add ? "PUT" : "DELETE", `messages/${message.id}/reactions/${encodeURIComponent(emoji)}`)),
    again: (message) => sender.again(message),
    discard: (message) => sender.discard(message),
    rewrite: (message) => {
      page.draftOf(message).add(message.content);
      return sender.discard(message);
    },
    openVersions: async (message) => (await import("./versions.js")).openVersions(message, actions, (now) => store.put(now)),
    openProfile: (anchor, author) => openProfile(anchor, { ...author, ...people.get(author.id) }),
    openThread: page.openThread,
    loadReplies: page.loadReplies,
    isNew: page.isNew,
    offered: (message) => offered(message, actions, page),
  };
  return actions;

  function offered(message) {
    if (message.deleted) return [];
    const mine = message.author.id === me;
    const found = [
      { sign: "react", label: "React", press: chooseReaction },
      { sign: "reply", label: "Reply in thread", press: ({ message: { threadId, id } }) => page.openThread(threadId ?? id) },
      { sign: "why", label: message.author.isOrchestrator ? "Why this answer" : "Who is meant, and why", press: async (view, at) => (await import("./why.js")).openWhy(at, view.message) },
    ];
    if (canRegenerate(message)) found.push({ sign: "regenerate", label: "Regenerate", press: (view) => view.attempt(() => actions.steer(view.message, "regenerate")) });
    found.push({ sign: "link", label: "Copy link", press: copyLink });
    if (mine && message.state === "final") found.push({ sign: "edit", label: "Edit", press: (view) => view.edit() });
    if (mine || people.managesAny) found.push({ sign: "delete", label: "Delete", press: confirmDelete });
    return found;
  }

  async function chooseReaction(view, at) {
    const { openReactions } = await import("./reactions.js");
    openReactions(at, (emoji) => view.attempt(() => actions.react(view.message, emoji, true)));
  }

  function copyLink({ message: { id } }, at) {
    const address = location.origin + actions.addressOf(id);
    const field = make("input", { value: address, readOnly: true, "aria-label": "Address of this message" });
    const said = make("p", { className: "soft", role: "status" }, "Press Ctrl+C to copy it.");
    openPopover(at, "Link to this message", field, said);
    field.select();
    navigator.clipboard?.writeText(address).then(() => (said.textContent = "Copied."), () => {});
  }

  function confirmDelete(view, at) {
    const remove = button("delete", "Delete", () => {
      close();
      view.element.focus();
      view.attempt(async () => store.put(await ask("DELETE", `messages/${view.message.id}`)));
    });
    remove.className = "harm";
    const keep = button("keep", "Keep it", () => close());
    const close = openPopover(at, "Delete this message?", make("p", {}, "Delete this message for everybody?"), make("div", { className: "actions" }, keep, remove));
  }
}

function byName(members, word) {
  const wanted = word.toLowerCase();
  const found = members.find(({ handle, name }) => handle === wanted || name.toLowerCase() === wanted);
  return found && { id: found.userId };
}

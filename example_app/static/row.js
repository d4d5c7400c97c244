// One place in a list: a message, what stands above it (a new day, "New"), and below it the newest answer of its thread.
import { button, make } from "/neolith/static/client/dom.js";
import { byAge } from "/neolith/static/client/store.js";
import { MessageView } from "./message.js";

const TOGETHER = 5 * 60_000; // milliseconds in which messages of one author stand together
const DAY = 86_400_000;
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) rowsOf.get(target)?.onSeen(isIntersecting);
});
const rowsOf = new WeakMap();

export class Row {
  constructor(message, actions, isMain) {
    this.message = message;
    this.actions = actions;
    this.view = new MessageView(actions);
    this.day = make("p", { className: "day", hidden: true });
    this.mark = make("p", { className: "new", hidden: true }, make("span", {}, "New"));
    this.element = make("li", {}, this.day, this.mark, this.view.element);
    if (!isMain) return;
    this.newest = null; // a view of the newest reply
    this.replies = button("thread", "", () => actions.openThread(this.message.id));
    this.replies.className = "replies";
    this.replies.hidden = true;
    this.element.append(this.replies);
    rowsOf.set(this.element, this);
  }

  update(message, store) {
    this.message = message;
    this.view.update(message);
    if (this.replies) this.showReplies(store);
  }

  // what stands above depends on the message before
  follow(before, readUntil, me) {
    const { message } = this;
    const day = new Date(message.createdAt);
    const isNewDay = !before || new Date(before.message.createdAt).toDateString() !== day.toDateString();
    this.day.hidden = !isNewDay;
    this.day.replaceChildren(isNewDay ? make("span", {}, nameOf(day)) : "");
    const isNew = readUntil !== null && message.author.id !== me && byAge(message, { id: readUntil }) > 0;
    const wasNew = before !== null && byAge(before.message, { id: readUntil ?? "" }) > 0 && before.hasMark;
    this.hasMark = isNew || wasNew;
    this.mark.hidden = !isNew || wasNew;
    const isNext = !isNewDay && this.mark.hidden && before.message.author.id === message.author.id && !before.message.replyCount;
    this.element.classList.toggle("follows", isNext && day - new Date(before.message.createdAt) < TOGETHER);
  }

  showReplies(store) {
    const { message, replies } = this;
    const count = message.replyCount ?? 0;
    const newest = store.newestReply(message.id);
    replies.textContent = `${count} ${count === 1 ? "reply" : "replies"}`;
    replies.hidden = !count;
    const { lastReply } = message;
    const isNew = Boolean(lastReply && this.actions.isNew(message.id, lastReply));
    replies.classList.toggle("is-new", isNew);
    if (isNew) replies.append(make("span", { className: "tag" }, "New"));
    if (newest) this.#showNewest(newest);
    else if (this.newest) this.#hideNewest();
    if (lastReply && !store.get(lastReply.id)) seen.observe(this.element);
  }

  #showNewest(message) {
    if (!this.newest) {
      this.newest = new MessageView(this.actions);
      this.newest.element.classList.add("newest");
      this.replies.before(this.newest.element);
    }
    this.newest.element.hidden = false;
    this.newest.update(message);
  }

  // it was deleted, perhaps by who stands there
  #hideNewest() {
    const { element } = this.newest;
    const hadFocus = element.contains(document.activeElement);
    element.hidden = true;
    if (hadFocus) this.view.element.focus();
  }

  onSeen(isSeen) {
    clearTimeout(this.timer);
    if (!isSeen) return;
    // not what only flies past
    this.timer = setTimeout(() => {
      seen.unobserve(this.element);
      this.actions.loadReplies(this.message);
    }, 100);
  }
}

function nameOf(day) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(day).setHours(0, 0, 0, 0)) / DAY);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  const year = day.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return day.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long", year });
}

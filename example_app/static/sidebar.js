// The lists beside every page: channels, direct messages with presence, colleagues; what is unread, live.
import { ask } from "/neolith/static/client/api.js";
import { atMostEvery, make } from "/neolith/static/client/dom.js";
import { byAge } from "/neolith/static/client/store.js";
import { dot } from "/neolith/static/client/presence.js";
import { avatar } from "./avatar.js";
import { openProfile } from "./profile.js";

const { me, channels: address } = document.body.dataset;
const MOST = 100; // the server counts no further
const title = document.title;

export class Sidebar {
  // here: the channel on the screen, or null
  constructor({ socket, people, here }) {
    this.people = people;
    this.here = here;
    this.reading = null;
    this.known = new Map(); // channel id -> channel as the API shows it
    this.doing = new Map(); // user id -> "thinking" or "writing"
    this.isStale = false; // something happened while the list was being read
    this.isHereSeen = () => false; // whether what comes into the channel on the screen is seen as it comes
    this.again = atMostEvery(300, () => this.read());
    socket.on("connect", () => {
      this.isStale = this.reading !== null; // from now on news is heard; a list asked for before may be older
      this.read();
    });
    socket.on("channel:activity", (news) => this.#hear(news));
    socket.on("channel:read", (news) => this.#hearRead(news));
    socket.on("channel:added", ({ channel }) => {
      this.isStale = this.reading !== null;
      if (!this.known.has(channel.id)) this.#add(channel); // else a list has it already, with what is unread
    });
    socket.on("channel:removed", ({ channelId }) => this.#remove(channelId));
    people.onChange(() => this.#drawPeople());
  }

  read() {
    this.reading ??= this.#read().finally(() => {
      this.reading = null;
      if (this.isStale) this.again();
    });
    return this.reading;
  }

  async #read() {
    this.isStale = false;
    try {
      const { items } = await ask("GET", "channels");
      for (const id of this.known.keys()) if (!items.some((one) => one.id === id)) this.#remove(id);
      for (const channel of items) this.#add(channel);
    } catch {
      // no connection: read again when it is back
    }
  }

  // doing: user id -> "thinking" or "writing", in the channel on the screen
  showDoing(doing) {
    this.doing = doing;
    this.#drawPeople();
  }

  #hear({ channelId, threadId, messageId, authorId, mentions, replyToUserId }) {
    if (authorId === me || (channelId === this.here && this.isHereSeen())) return;
    this.isStale = this.reading !== null;
    const channel = this.known.get(channelId);
    // of threads those count that one takes part in, and a list may have counted this one already: the server knows
    const isNew = channel && byAge({ id: messageId }, channel.lastMessage ?? { id: "" }) > 0;
    if (!isNew || threadId) return this.again();
    const meant = mentions.includes(me) || replyToUserId === me;
    this.#count(channelId, { unread: (channel.unread ?? 0) + 1, mentions: (channel.mentions ?? 0) + Number(meant), lastMessage: { id: messageId } });
  }

  #hearRead({ channelId, unread, mentions }) {
    this.isStale = this.reading !== null; // the page before may have told only now how far one has read
    this.#count(channelId, { unread, mentions });
  }

  #count(channelId, counts) {
    const channel = this.known.get(channelId);
    if (!channel) return;
    Object.assign(channel, counts);
    this.#drawCount(channel);
  }

  #add(channel) {
    this.known.set(channel.id, channel);
    if (!this.#item(channel.id)) {
      const name = channel.kind === "dm" ? this.#others(channel).map((one) => one.name).join(", ") : `# ${channel.name}`;
      const link = make("a", { href: address + channel.id }, make("span", { className: "label" }, name), " ", make("span", { className: "count", hidden: true }));
      document.getElementById(channel.kind === "dm" ? "dms" : "channels").append(make("li", { data: { channel: channel.id } }, link));
    }
    this.#drawCount(channel);
    this.#drawPeople();
  }

  #remove(channelId) {
    const name = this.known.get(channelId)?.name;
    this.known.delete(channelId);
    this.#item(channelId)?.remove();
    if (channelId === this.here) {
      sessionStorage.setItem("neolith-told", name ? `You are not in # ${name} any more.` : "You are not in that channel any more.");
      location.assign("/");
    }
    this.#drawTotal();
  }

  #item(channelId) {
    return document.querySelector(`.side [data-channel="${CSS.escape(channelId)}"]`);
  }

  #others({ members = [] }) {
    return (members ?? []).filter((one) => one.userId !== me);
  }

  #drawCount({ id, unread = 0, mentions = 0 }) {
    const item = this.#item(id);
    if (!item) return;
    item.classList.toggle("is-unread", unread > 0);
    const count = item.querySelector(".count");
    count.hidden = !unread;
    count.classList.toggle("mentions", mentions > 0);
    const shown = unread >= MOST ? `${MOST - 1}+` : String(unread);
    if (!unread) count.replaceChildren();
    else count.replaceChildren(mentions ? `@ ${shown}` : shown, make("span", { className: "unseen" }, mentions ? " unread, mentions you" : " unread"));
    this.#drawTotal();
  }

  #drawTotal() {
    let sum = 0;
    for (const { id, unread = 0 } of this.known.values()) if (id !== this.here) sum += unread;
    const here = this.known.get(this.here)?.unread ?? 0;
    document.title = sum + here ? `(${sum + here}) ${title}` : title;
    for (const back of document.querySelectorAll(".back .count")) {
      back.textContent = String(sum);
      back.hidden = !sum;
    }
  }

  #drawPeople() {
    for (const channel of this.known.values()) if (channel.kind === "dm") this.#drawDirect(channel);
    const list = document.getElementById("colleagues");
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.user : null;
    list.replaceChildren(...this.people.orchestrators.map((one) => this.#colleague(one)));
    if (focused) list.querySelector(`[data-user="${CSS.escape(focused)}"]`)?.focus();
  }

  // the one partner's presence stands before the name
  #drawDirect(channel) {
    const label = this.#item(channel.id)?.querySelector(".label");
    const others = this.#others(channel);
    if (!label || !others.length) return;
    const known = this.people.get(others[0].userId);
    const status = others.length === 1 ? (known?.status ?? others[0].status) : null;
    const name = others.map((one) => one.name).join(", ");
    const face = avatar({ id: others[0].userId, name: others[0].name, isOrchestrator: others[0].isOrchestrator });
    if (status) face.append(make("i", { className: "pip", data: { status } }));
    label.replaceChildren(face, name, status ? make("span", { className: "unseen" }, ` (${status.toLowerCase()})`) : "");
  }

  #colleague(one) {
    const doing = this.doing.get(one.id);
    const open = make(
      "button",
      { type: "button", className: "quiet", title: `@${one.handle}`, data: { user: one.id } },
      avatar(one),
      make("span", { className: "label" }, one.name),
      doing ? make("span", { className: "phase" }, `${doing} …`) : dot(one.status),
    );
    open.addEventListener("click", () => openProfile(open, one));
    return make("li", { data: { orchestrator: one.handle, status: one.status } }, open);
  }
}

// What the visitor wrote here and the server has not confirmed, as messages on the screen: the outbox as this page sees it.

export class Sender {
  constructor({ channelId, store, author, changed, outbox }) {
    this.channelId = channelId;
    this.store = store;
    this.author = author;
    this.outbox = outbox;
    this.redraw = changed;
    outbox.watch({ changed: () => this.#show(), sent: (message) => message.channelId === channelId && store.put(message) });
  }

  send(content, threadId) {
    return this.outbox.add({ channelId: this.channelId, threadId, content });
  }

  again(message) {
    return this.outbox.again(message.clientId);
  }

  discard(message) {
    return this.outbox.discard(message.clientId);
  }

  #show() {
    const { unsent, messages } = this.store;
    unsent.clear();
    const mine = this.outbox.entries.filter((one) => one.channelId === this.channelId);
    const arrived = mine.length ? new Set([...messages.values()].map((one) => one.author.id === this.author.id && one.clientId)) : null;
    for (const one of mine) if (!arrived.has(one.clientId)) unsent.set(one.clientId, this.#message(one));
    this.redraw();
  }

  #message(entry) {
    const { clientId, content, threadId, createdAt, state } = entry;
    const shown = { id: `unsent-${clientId}`, clientId, content, threadId, createdAt, author: this.author, state: "final" };
    const isRefused = state === "refused";
    return { ...shown, sending: this.#words(entry), isRefused, canRepeat: isRefused || Boolean(entry.again) };
  }

  #words({ clientId, channelId, state, reason, again }) {
    if (state === "refused") return `Not sent: ${reason}`;
    if (this.outbox.sending === clientId) return "sending";
    if (!again && this.outbox.isHeld(channelId)) return "Waiting: what you wrote before it is sent first.";
    if (!again) return "Waiting for the connection";
    return `Waiting: ${reason} It is sent again at ${new Date(again).toLocaleTimeString()}.`;
  }
}

// Sending: a message is on the screen at once, and may be sent again without becoming two (its clientId stays).
import { Refused, ask } from "/neolith/static/client/api.js";

export class Sender {
  constructor({ channelId, store, author, changed }) {
    this.channelId = channelId;
    this.store = store;
    this.author = author;
    this.changed = changed;
  }

  send(content, threadId) {
    const clientId = newId();
    const message = {
      id: `unsent-${clientId}`,
      clientId,
      content,
      threadId,
      author: this.author,
      state: "final",
      createdAt: new Date().toISOString(),
    };
    this.store.unsent.set(clientId, message);
    return this.post(message);
  }

  async post(message) {
    message.trouble = "";
    this.changed();
    const { content, threadId, clientId } = message;
    try {
      const body = threadId ? { content, threadId, clientId } : { content, clientId };
      this.store.put(await ask("POST", `channels/${this.channelId}/messages`, body));
    } catch (error) {
      message.refused = error instanceof Refused && error.status < 500;
      message.trouble = message.refused ? error.message : "no connection";
      this.changed();
    }
  }

  discard(message) {
    this.store.unsent.delete(message.clientId);
    this.changed();
  }

  // the connection is back
  postAgain() {
    for (const message of this.store.unsent.values()) if (message.trouble && !message.refused) this.post(message);
  }
}

function newId() {
  // not randomUUID: that is missing where the page comes over plain HTTP from another machine
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

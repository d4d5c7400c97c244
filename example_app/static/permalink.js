// The message that an address is for: shown with what is around it, once.
import { ask } from "/neolith/static/client/api.js";

export class Permalink {
  // wanted: a message's id, null where the address is the channel's
  constructor({ wanted, channelId, reader, panel, line, tail }) {
    Object.assign(this, { wanted, channelId, reader, panel, line, tail });
    this.gone = "";
  }

  // raises what another try may mend; what none can is kept for `complain`
  async show() {
    const { wanted, reader, panel, line, tail } = this;
    try {
      const message = await ask("GET", `messages/${wanted}`);
      if (message.channelId !== this.channelId) return this.#goTo(message.channelId);
      await reader.around(message.threadId ?? wanted);
      tail.isPinned = true;
      line.point(message.threadId ?? wanted);
      if (message.threadId) await panel.open(message.threadId, wanted); // the focus ends at what is wanted
    } catch (error) {
      if (!error.status) throw error;
      await reader.newest();
      this.gone = "The message that this address is for is not here any more.";
    }
    this.wanted = null;
    return undefined;
  }

  #goTo(channelId) {
    location.replace(location.pathname.replace(/[^/]+$/u, channelId) + location.search);
    return new Promise(() => {}); // another page comes
  }

  async complain() {
    const { gone } = this;
    this.gone = "";
    if (gone) throw new Error(gone);
  }
}

// What is being written, kept per channel and thread until it is sent. In localStorage: that is written at once, even
// when the page is being closed. Two tabs share a draft until both are typed in; then each keeps its own.
import { stored } from "./kept.js";

const PAUSE = 300; // milliseconds
const all = new Set();

export class Draft {
  constructor(kept, input) {
    this.kept = kept;
    this.input = input;
    this.key = null;
    this.isTyped = false; // here, since it was shown
    all.add(this);
    input.addEventListener("input", () => {
      this.isTyped = true;
      this.timer ??= setTimeout(() => this.save(), PAUSE);
    });
    addEventListener("pagehide", () => this.save());
    addEventListener("storage", (event) => this.#hear(event));
  }

  // what is being written here; threadId null for the main line, channelId null for nowhere
  show(channelId, threadId = null) {
    this.save();
    this.key = channelId && this.kept.draftKey(channelId, threadId);
    this.#put(this.key ? stored((storage) => storage.getItem(this.key)) ?? "" : "");
  }

  sent() {
    clearTimeout(this.timer);
    this.timer = null;
    this.isTyped = false;
    if (this.key) stored((storage) => storage.removeItem(this.key));
  }

  save() {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.key || !this.isTyped || !this.kept.isMine) return;
    const text = this.input.value;
    stored((storage) => (text.trim() ? storage.setItem(this.key, text) : storage.removeItem(this.key)));
  }

  // a message that is to be written anew, below what is being written
  add(text) {
    this.input.value = [this.input.value, text].filter((one) => one.trim()).join("\n");
    this.isTyped = true;
    this.save();
    this.input.focus();
  }

  #put(text) {
    this.input.value = text;
    this.isTyped = false;
  }

  #hear({ key, newValue }) {
    if (key === this.key && key && !this.isTyped) this.#put(newValue ?? "");
  }
}

export function saveDrafts() {
  for (const draft of all) draft.save();
}

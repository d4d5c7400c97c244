// What is being written, kept per channel and thread until it is sent. In localStorage: that is written at once, even
// when the page is being closed. Two tabs share a draft until both are typed in; then each keeps its own.
import { stored } from "./person.js";

const PAUSE = 300; // milliseconds
const all = new Set();

export class Draft {
  constructor(kept, input) {
    this.kept = kept;
    this.input = input;
    this.name = null;
    this.isTyped = false; // here, since it was shown
    all.add(this);
    input.addEventListener("input", () => {
      this.isTyped = true;
      this.timer ??= setTimeout(() => this.save(), PAUSE);
    });
    input.addEventListener("blur", () => this.save());
    addEventListener("pagehide", () => this.save());
    document.addEventListener("visibilitychange", () => this.save());
    addEventListener("storage", (event) => this.#hear(event));
  }

  // what is being written here; threadId null for the main line, channelId null for nowhere
  show(channelId, threadId = null) {
    this.save();
    const isFirst = this.name === null;
    this.name = channelId && this.kept.draftName(channelId, threadId);
    const text = this.name ? stored((storage) => storage.getItem(this.name)) ?? "" : "";
    if (isFirst && this.input.value && !text) this.isTyped = true; // somebody was faster than this script
    else this.#put(text);
  }

  sent() {
    clearTimeout(this.timer);
    this.timer = null;
    this.isTyped = false;
    if (this.name) stored((storage) => storage.removeItem(this.name));
  }

  save() {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.name || !this.isTyped || !this.kept.isMine) return;
    const text = this.input.value;
    stored((storage) => (text.trim() ? storage.setItem(this.name, text) : storage.removeItem(this.name)));
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
    if (key === this.name && key !== null && !this.isTyped) this.#put(newValue ?? "");
  }
}

export function saveDrafts() {
  for (const draft of all) draft.save();
}

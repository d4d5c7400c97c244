// Leaving: what this browser keeps of a person goes when they log out or their login has ended. What they wrote and
// nobody has got yet is told first.
import { question } from "./question.js";
import { saveDrafts } from "./drafts.js";

const SHOWN = 80; // characters
const { login } = document.body.dataset;

export class Leaving {
  constructor({ kept, outbox, form }) {
    this.kept = kept;
    this.outbox = outbox;
    this.isLeaving = false;
    document.addEventListener("neolith:login-ended", (event) => {
      event.preventDefault();
      this.#loginEnded();
    });
    form?.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#logOut(form);
    });
  }

  // the texts that would be lost
  async #unsent() {
    saveDrafts();
    await this.outbox.loaded;
    return [...this.outbox.entries.map((one) => one.content), ...this.kept.drafts()].map(short);
  }

  async #logOut(form) {
    if (this.isLeaving) return;
    const items = await this.#unsent();
    if (items.length && !(await this.#mayLose(items))) return;
    this.isLeaving = true;
    try {
      const answer = await fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" });
      if (answer.type !== "opaqueredirect") return form.submit(); // the server says what is wrong
    } catch {
      if (!(await this.#leavesAnyway())) return void (this.isLeaving = false);
    }
    await this.kept.forget();
    return location.assign(login);
  }

  async #mayLose(items) {
    const choice = await question({
      title: "Not everything was sent",
      text: `${counted(items)} will be removed from this browser when you log out:`,
      items,
      choices: [
        ["stay", "Stay logged in", "main"],
        ["leave", "Log out and remove", "harm"],
      ],
    });
    return choice === "leave";
  }

  async #leavesAnyway() {
    const choice = await question({
      title: "The server does not answer",
      text: "You cannot be logged out there now. What this browser keeps of your messages can be removed all the same.",
      choices: [
        ["stay", "Keep it", "main"],
        ["remove", "Remove it from this browser", "harm"],
      ],
    });
    return choice === "remove";
  }

  async #loginEnded() {
    if (this.isLeaving) return;
    this.isLeaving = true;
    const items = this.kept.isMine ? await this.#unsent() : [];
    await (items.length ? this.#keepOrDiscard(items) : this.kept.forget());
    location.assign(`${login}?next=${encodeURIComponent(location.pathname + location.search)}`);
  }

  async #keepOrDiscard(items) {
    const choice = await question({
      title: "Your login has ended",
      text: `${counted(items)} will be kept until you log in again in this browser, and removed if somebody else does:`,
      items,
      choices: [
        ["keep", "Log in again", "main"],
        ["discard", "Remove and leave", "harm"],
      ],
    });
    if (choice === "discard") await this.kept.forget();
    else await this.kept.forgetAllButUnsent();
  }
}

function counted(items) {
  return items.length === 1 ? "One message that you have not sent" : `${items.length} messages that you have not sent`;
}

function short(text) {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

// Start, stop and restart of one daemon. The first button is what can be done now, and keeps the focus when it changes.
import { ask } from "../client/api.js";
import { button, make } from "../client/dom.js";
import { asked } from "./dialog.js";
import { showIf, say, tell } from "./inplace.js";

const DOING = { start: "Starting…", stop: "Stopping…", restart: "Restarting…" };
const WORDS = { start: "Start", stop: "Stop", restart: "Restart" };
const DONE = { start: "has been started", stop: "has been stopped", restart: "has been restarted" };

export class Commands {
  // `done(health)` is told how it is after a command, `trouble(text)` what went wrong
  constructor({ id, name, done, trouble }) {
    Object.assign(this, { id, name, done, trouble, doing: null });
    this.first = button("start", "", () => this.run(this.first.dataset.action));
    this.again = button("restart", "", () => this.run("restart"));
    this.element = make("div", { className: "commands" }, this.first, this.again);
    this.show({ status: "stopped" });
  }

  show(health) {
    this.status = health.status;
    const lives = ["running", "initializing", "stopping"].includes(health.status);
    this.label(this.first, this.doing === "restart" ? "stop" : (this.doing ?? (lives ? "stop" : "start")));
    this.label(this.again, "restart");
    const showsAgain = this.doing === "restart" || (lives && !this.doing) || health.status === "error";
    if (!showsAgain && document.activeElement === this.again) this.first.focus();
    showIf(this.again, showsAgain);
  }

  label(one, action) {
    const isBusy = this.doing === action;
    tell(one, "data-action", action);
    tell(one, "aria-disabled", this.doing ? "true" : null);
    tell(one, "aria-busy", isBusy ? "true" : null);
    tell(one, "aria-label", `${isBusy ? DOING[action] : WORDS[action]} ${this.name}`);
    say(one, isBusy ? DOING[action] : WORDS[action]);
  }

  async run(action) {
    if (this.doing) return;
    this.doing = action;
    this.show({ status: this.status });
    let health = { status: this.status };
    try {
      if (action === "start" || (await this.mayEnd(action))) {
        health = await ask("POST", `orchestrators/${this.id}/${action}`);
        this.trouble("");
        announce(`${this.name} ${DONE[action]}.`);
      }
    } catch (error) {
      this.trouble(`${this.name} could not be ${DONE[action].split(" ").at(-1)}: ${error.message}`);
    } finally {
      this.doing = null;
      this.show(health);
      if (health.wanted) this.done(health);
    }
  }

  // nobody's answer is cut off by a slip of the hand
  async mayEnd(action) {
    const { activeConversations: active } = await ask("GET", `orchestrators/${this.id}/status`);
    if (!active) return true;
    const answers = active === 1 ? "An answer is being written." : `${active} answers are being written.`;
    const later = `what is not complete then is answered anew when ${this.name} runs again.`;
    const told = `${answers} It has a few seconds to end; ${later}`;
    const title = `${WORDS[action]} ${this.name}?`;
    return (await asked({ title, body: [make("p", {}, told)], confirm: WORDS[action], harm: true })) !== null;
  }
}

export function announce(text) {
  const region = document.getElementById("said");
  if (region) region.textContent = text;
}

// Whether the server can be reached, as the live connection and the browser say, after a moment of patience.

const PATIENCE = 1500; // milliseconds; a page that is reloaded, or a server that is restarted, is no news

export class Connection {
  // lost() and back() are called in turns; back() also at the first connection
  constructor({ lost, back }) {
    this.lost = lost;
    this.back = back;
    this.isLost = false;
    document.addEventListener("neolith:connection", ({ detail }) => (detail === "live" ? this.#live() : this.#soon()));
    addEventListener("offline", () => this.#gone());
    if (navigator.onLine) this.#soon();
    else this.#gone();
  }

  #soon() {
    this.timer ??= setTimeout(() => this.#gone(), navigator.onLine ? PATIENCE : 0);
  }

  #gone() {
    this.#stop();
    if (this.isLost) return;
    this.isLost = true;
    this.lost();
  }

  #live() {
    this.#stop();
    this.isLost = false;
    this.back();
  }

  #stop() {
    clearTimeout(this.timer);
    this.timer = null;
  }
}

// Reading on while one scrolls: older messages at the top, newer ones at the end where the list does not reach it.
import { button, make } from "/neolith/static/client/dom.js";

const AHEAD = 1.5; // screens

export class History {
  // changed() after each page
  constructor(view, reader, changed) {
    this.view = view;
    this.reader = reader;
    this.changed = changed;
    this.isReading = false;
    view.scroll.addEventListener("scroll", () => this.look(), { passive: true });
  }

  // read on if an end is near
  look() {
    const { scrollTop, scrollHeight, clientHeight } = this.view.scroll;
    if (!clientHeight) return;
    const ahead = clientHeight * AHEAD;
    if (scrollTop < ahead) this.read("older");
    else if (scrollHeight - scrollTop - clientHeight < ahead) this.read("newer");
  }

  async read(edge) {
    const { view, reader } = this;
    const { threadId } = view;
    if (this.isReading || !reader.hasMore(edge, threadId)) return;
    this.isReading = true;
    try {
      const page = await reader.fetch(edge, threadId);
      if (threadId === view.threadId) {
        view.keepingPlace(() => {
          reader.take(page, edge, threadId);
          const far = edge === "older" ? "newer" : "older";
          reader.letGo(view.trim(far), far, threadId);
          this.draw();
        });
      }
      this.isReading = false;
      this.changed();
      this.look();
    } catch (error) {
      this.isReading = false;
      this.#complain(edge, error);
    }
  }

  draw() {
    for (const place of this.view.scroll.querySelectorAll(".edge")) {
      place.hidden = !this.reader.hasMore(place.dataset.edge, this.view.threadId);
      place.replaceChildren(make("p", { className: "soft" }, `Loading ${place.dataset.edge} messages …`));
    }
  }

  #complain(edge, error) {
    const place = this.view.scroll.querySelector(`.edge[data-edge="${edge}"]`);
    const again = button("again", "Try again", () => {
      this.draw();
      this.read(edge);
    });
    place.replaceChildren(make("p", { role: "alert" }, error.message), again);
  }
}

// The way back to the newest messages: a button that counts what has come meanwhile.
const FAR = 1; // screens from the end

export class Tail {
  constructor({ line, reader, history, mark, attempt }) {
    Object.assign(this, { line, reader, history, mark, attempt });
    this.isPinned = false; // a permalink holds the place
    this.unseen = 0;
    this.button = line.section.querySelector(".newest-button");
    this.button.addEventListener("click", async () => {
      await this.comeBack();
      line.section.querySelector("textarea").focus();
    });
    line.scroll.addEventListener("scroll", () => this.look(), { passive: true });
  }

  // a message has come: seen at once by who is at the end
  count({ threadId, author }) {
    if (threadId !== null || author.id === this.line.actions.me || this.line.isAtEnd()) return;
    this.unseen += 1;
    this.look();
  }

  // one that is not shown, because the list does not reach so far
  missed() {
    this.look();
  }

  look() {
    const { scrollHeight, scrollTop, clientHeight } = this.line.scroll;
    const isDetached = this.reader.hasMore("newer", null);
    const isFar = scrollHeight - scrollTop - clientHeight > clientHeight * FAR;
    if (this.line.isAtEnd() && !isDetached) this.unseen = 0;
    this.button.hidden = !isDetached && !isFar && !this.unseen;
    const words = this.unseen ? `${this.unseen} new ${this.unseen === 1 ? "message" : "messages"}` : "Newest messages";
    this.button.querySelector("span").textContent = words;
    this.mark.look();
  }

  // to the end, wherever the list was
  async comeBack() {
    if (this.reader.hasMore("newer", null)) {
      await this.attempt(async () => {
        await this.reader.newest();
        this.line.forgetMissing();
        this.history.draw();
      });
    }
    this.line.toEnd();
    this.unseen = 0;
    this.look();
  }
}

// Writing in a line: what is sent goes to the outbox, and Up takes up the last message of one's own.
import { Composer } from "./composer.js";

// before() runs before something is sent; say: what to begin with
export function openComposer({ view, draft, sender, me, people, members, before }, say) {
  // colleagues who answer come first
  function mentionable() {
    const others = members().filter((one) => one.userId !== me);
    const known = others.map((one) => ({ ...one, ...people.get(one.userId), id: one.userId }));
    return known.sort((a, b) => Number(b.isOrchestrator) - Number(a.isOrchestrator) || a.name.localeCompare(b.name));
  }

  const composer = new Composer(view.section.querySelector(".composer"), {
    people: mentionable,
    editLast: () => {
      const row = view.order.findLast(({ message }) => message.author.id === me && message.state === "final" && !message.deleted);
      row?.view.edit();
      return Boolean(row);
    },
    send: async (content) => {
      draft.sent();
      await before();
      sender.send(content, view.threadId);
      view.toEnd();
    },
  });
  if (say) composer.fill(say);
}

// All versions of an answer, side by side with what it is now; a former one may be taken back.
import { ask } from "/neolith/static/client/api.js";
import { button, make } from "/neolith/static/client/dom.js";
import { clockTime } from "/neolith/static/client/time.js";
import { openDialog } from "./dialog.js";
import { TextView } from "./text.js";

// actions: {maySteer(message), names(word), me}; restored(message)
export async function openVersions(message, actions, restored) {
  const { items } = await ask("GET", `messages/${message.id}/versions`);
  const list = make("ol", { className: "versions" });
  const { attempt, close } = openDialog(`Versions of ${message.author.name}'s answer`, list);
  list.append(
    ...[...items].reverse().map((one) => {
      const text = new TextView(actions);
      text.update({ ...one, deleted: false });
      const take = button("restore", "Use this version", () =>
        attempt(async () => {
          restored(await ask("POST", `messages/${message.id}/versions/${one.n}/restore`));
          close();
        }),
      );
      const head = make("p", { className: "head" }, make("b", {}, `Version ${one.n}`), clockTime(one.at), one.current ? make("span", { className: "tag" }, "shown") : null);
      return make("li", {}, head, text.element, !one.current && actions.maySteer(message) ? take : null);
    }),
  );
}

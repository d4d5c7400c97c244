// On the login page nobody is logged in: what this browser kept of somebody goes, but for what they have not sent.
import { button } from "/neolith/static/client/dom.js";
import { countUnsent, forget, forgetAllButUnsent, owner } from "./person.js";

const note = document.getElementById("unsent");
const person = owner();

async function tidy() {
  const number = await countUnsent(person);
  if (!number) return forget(person);
  await forgetAllButUnsent(person);
  const words =
    number === 1
      ? "One message that was written here has not been sent. It waits until the same person logs in, and is removed when somebody else does. "
      : `${number} messages that were written here have not been sent. They wait until the same person logs in, and are removed when somebody else does. `;
  const remove = button("forget", "Remove", async () => {
    await forget(person);
    note.hidden = true;
  });
  note.replaceChildren(words, remove);
  note.hidden = false;
  return undefined;
}

if (person) await tidy();

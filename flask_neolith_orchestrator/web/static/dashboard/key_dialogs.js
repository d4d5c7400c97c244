// The dialogs of API keys: what one shall be, and the one time that it is shown.
import { ask } from "../client/api.js";
import { button, make, showTrouble } from "../client/dom.js";
import { shown } from "./dialog.js";

const SCOPES = [
  ["messages:read", "Read messages", "of all channels that you are in"],
  ["messages:write", "Write messages", "post, edit, delete and react as you; stop, retry and approve answers"],
  ["channels:read", "See channels", "which ones you are in, and who else is"],
  ["channels:write", "Change channels", "make them, add and remove members"],
  ["orchestrators:read", "See orchestrators", "how their daemons are, figures, budgets, processes"],
  ["orchestrators:manage", "Manage orchestrators", "start and stop them, write their charters"],
  ["deliveries:read", "See the work", "turns, dead letters and what waits"],
  ["deliveries:manage", "Steer the work", "try dead letters again, cancel what waits"],
  ["audit:read", "Read the audit log", "who did what to what you manage"],
  ["metrics:read", "Read metrics", "numbers for Prometheus"],
];
const SPANS = [["7", "in 7 days"], ["30", "in 30 days"], ["90", "in 90 days"], ["365", "in a year"], ["", "never"]];
const DAY = 86_400_000;

export function describeScopes(scopes) {
  const list = make("ul", { className: "plain" });
  for (const scope of scopes) {
    const known = SCOPES.find(([name]) => name === scope);
    list.append(make("li", { title: known?.[2] ?? "" }, known?.[1] ?? scope));
  }
  return list;
}

// resolves to true where a key was made
export function newKey() {
  const from = document.activeElement;
  return new Promise((resolve) => {
    const trouble = make("p", { className: "note bad", role: "alert", hidden: true });
    const label = make("input", { name: "label", maxLength: 100, autocomplete: "off", required: true });
    const until = make("select", {}, ...SPANS.map(([days, text]) => new Option(text, days)));
    until.value = "90";
    const boxes = SCOPES.map(([name]) => make("input", { type: "checkbox", value: name }));
    const scopes = make("fieldset", { className: "choices" }, make("legend", {}, "What it may do"),
      ...SCOPES.map(([name, title, text], place) => make("label", {}, boxes[place],
        make("span", {}, title, make("small", {}, `${text} (${name})`)))));
    const create = button("make", "Make the key", () => send());
    create.classList.add("main");
    const card = make("article", {},
      make("h2", { id: "making" }, "A new API key"),
      trouble,
      make("label", {}, "What is it for?", label, make("small", {}, "So that you know later which one to revoke.")),
      make("label", {}, "It expires", until),
      scopes,
      make("footer", { className: "bar end" }, button("no", "Cancel", () => end(false)), create));
    const dialog = make("dialog", { className: "wide", "aria-labelledby": "making" }, card);

    function end(made) {
      dialog.close();
      dialog.remove();
      if (from?.isConnected) from.focus();
      resolve(made);
    }

    async function send() {
      if (create.disabled) return; // it is being made
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      const lacks = !label.value.trim() ? label : !chosen.length ? boxes[0] : null;
      if (lacks) {
        showTrouble(trouble, lacks === label ? "Say what the key is for." : "Choose at least one thing that it may do.");
        return lacks.focus();
      }
      create.disabled = true;
      try {
        const expiresAt = until.value ? new Date(Date.now() + Number(until.value) * DAY).toISOString() : null;
        const made = await ask("POST", "keys", { label: label.value.trim(), scopes: chosen, expiresAt });
        end(true);
        await once(made);
      } catch (error) {
        showTrouble(trouble, [error.message, ...(error.errors ?? []).map((one) => `${one.at}: ${one.problem}`)].join(" "));
        create.disabled = false;
      }
    }

    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      end(false);
    });
    label.addEventListener("keydown", (event) => {
      if (event.key === "Enter") send();
    });
    document.body.append(dialog);
    dialog.showModal();
    label.focus();
  });
}

// the only time that anybody sees it; the element goes with the dialog
function once(made) {
  const key = make("output", { className: "secret", "aria-label": "The key" }, made.key);
  const copied = make("span", { role: "status", className: "soft" });
  const copy = button("copy", "Copy", async () => {
    try {
      await navigator.clipboard.writeText(made.key);
      copied.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(key);
      copied.textContent = "Your browser does not allow it. It is marked: press Ctrl+C.";
    }
  });
  copy.classList.add("main");
  const example = `curl -H "Authorization: Bearer $NEOLITH_KEY" ${new URL(document.body.dataset.api, location.href)}/orchestrators`;
  return shown({
    title: `The key “${made.label}”`,
    body: [
      make("p", { className: "note" }, "Copy it now and keep it in a safe place: it is never shown again. Whoever has it "
        + "can do what its scopes allow, as you."),
      key,
      make("div", { className: "bar" }, copy, copied),
      make("p", {}, "A program sends it with each request, for example:"),
      make("pre", { tabIndex: 0 }, make("code", {}, example)),
    ],
    close: "I have kept it",
  });
}

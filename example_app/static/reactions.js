// Choosing an emoji: a few that are often meant, and a field for any other.
import { make } from "/neolith/static/client/dom.js";
import { openPopover } from "./popover.js";

const OFTEN = [["👍", "Thumbs up"], ["❤️", "Heart"], ["😂", "Laughing"], ["🎉", "Hooray"], ["👀", "I look at it"], ["✅", "Done"], ["🙏", "Thank you"], ["🤔", "Thinking"]];

// react(emoji) is called once
export function openReactions(anchor, react) {
  const choose = (emoji) => {
    close();
    react(emoji);
  };
  const often = OFTEN.map(([emoji, name]) =>
    make("button", { type: "button", className: "quiet", "aria-label": name, title: name, onclick: () => choose(emoji) }, emoji),
  );
  const other = make("input", { "aria-label": "Another emoji", placeholder: "Another emoji", maxLength: 40, autocomplete: "off" });
  const form = make("form", {}, other, make("button", {}, "React"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (other.value.trim()) choose(other.value.trim());
  });
  const close = openPopover(anchor, "React", make("div", { className: "emoji" }, ...often), form);
}

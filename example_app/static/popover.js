// Small things that open beside what was pressed, and close by Escape or a click elsewhere; the focus comes back.
import { make } from "/neolith/static/client/dom.js";

const GAP = 6; // pixels
const FOCUSABLE = "button, input, textarea, a[href], [tabindex='0']";

// returns what closes it
export function openPopover(anchor, label, ...children) {
  const message = anchor.closest(".message"); // the anchor may be drawn anew meanwhile
  const box = make("div", { className: "popover", role: "dialog", "aria-label": label, popover: "auto", tabIndex: -1 }, ...children);
  document.body.append(box);
  box.addEventListener("toggle", ({ newState }) => {
    if (newState !== "closed") return;
    const wasInside = box.contains(document.activeElement) || document.activeElement === document.body;
    box.remove();
    if (wasInside) (anchor.isConnected ? anchor : message)?.focus();
  });
  box.showPopover();
  new ResizeObserver(() => anchor.isConnected && place(box, anchor)).observe(box); // what it shows may come later
  (box.querySelector(FOCUSABLE) ?? box).focus();
  return () => box.isConnected && box.hidePopover();
}

// below the anchor if there is room, else above; always on the screen
function place(box, anchor) {
  const at = anchor.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const below = at.bottom + GAP + height <= innerHeight;
  const top = below ? at.bottom + GAP : Math.max(GAP, at.top - GAP - height);
  box.style.left = `${Math.max(GAP, Math.min(at.left, innerWidth - width - GAP))}px`;
  box.style.top = `${Math.min(top, Math.max(GAP, innerHeight - height - GAP))}px`;
}

// Small things for making elements. Text is set as text: it is anybody's.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function clockTime(iso) {
  if (!iso) return make("span", {}, "–");
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const shown = at.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "short", timeStyle: "short" });
  return make("time", { dateTime: iso, title: at.toLocaleString() }, shown);
}

export function showTrouble(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

export function button(action, text, onclick) {
  return make("button", { type: "button", data: { action }, onclick }, text);
}

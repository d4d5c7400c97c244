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

export function showTrouble(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

export function button(action, text, onclick) {
  return make("button", { type: "button", data: { action }, onclick }, text);
}

// run `work` at most once in `pause` milliseconds, however often the answer is called; the last call is never lost
export function atMostEvery(pause, work) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      work();
    }, pause);
  };
}

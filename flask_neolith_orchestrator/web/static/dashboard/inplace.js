// Changes a page in place: only what differs is touched, so that focus, selection and open details stay.

export function say(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function tell(element, name, value) {
  const wanted = value === null || value === undefined ? null : String(value);
  if (element.getAttribute(name) === wanted) return;
  if (wanted === null) element.removeAttribute(name);
  else element.setAttribute(name, wanted);
}

export function showIf(element, isShown) {
  if (element.hidden === Boolean(isShown)) element.hidden = !isShown;
}

// these children, in this order; one that stays where it is is not touched, one that has to move keeps the focus
export function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let next = parent.firstElementChild;
  for (const element of elements) {
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

const built = new WeakMap();

// the content that `build` makes, made anew only when `values` differ from the last time
export function fill(element, values, build) {
  const key = JSON.stringify(values);
  if (built.get(element) === key) return;
  built.set(element, key);
  element.replaceChildren(...[build()].flat().filter((one) => one !== null && one !== undefined));
}

// a word with its colour
export function showDot(element, status, word = status) {
  tell(element, "data-status", status);
  say(element, word);
}

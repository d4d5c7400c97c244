// The text of a message on the screen: while it is written, and as the server has stored it.
import { make } from "/neolith/static/client/dom.js";
import { Growing, codeBlock, link, tableBox } from "./markdown.js";

const SPECIAL = /https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}]|(?<![\p{L}\p{N}_.@/])@(?:"[^"\n]+"|[\p{L}\p{N}][\p{L}\p{N}._-]*)/giu;
const APART = new Set(["A", "CODE", "PRE", "BUTTON"]);
const INLINE_PARENTS = new Set(["P", "EM", "STRONG", "S", "A", "CODE", "H1", "H2", "H3", "H4", "H5", "H6", "TH", "TD"]);
const COPIED = 1500; // milliseconds

export class TextView {
  // names(word): whom a mention means, {id} or undefined; me: the visitor's user id
  constructor({ names, me }) {
    this.element = make("div", { className: "text" });
    this.names = names;
    this.me = me;
    this.growing = null;
    this.shown = null;
    this.element.addEventListener("click", ({ target }) => target.matches?.(".copy") && copy(target));
  }

  update({ deleted, state, html, content }) {
    const isGrowing = state === "streaming" && !deleted;
    this.element.classList.toggle("growing", isGrowing);
    this.element.classList.toggle("gone", Boolean(deleted));
    if (deleted) this.#replace("This message was deleted.");
    else if (isGrowing || html === undefined) this.#grow(content, !isGrowing);
    else this.#settle(html, content);
  }

  #replace(text) {
    this.growing = null;
    this.shown = null;
    this.element.textContent = text;
  }

  #grow(content, isWhole) {
    this.shown = null;
    this.growing ??= new Growing(this.element);
    this.growing.grow(content);
    if (isWhole) this.growing.end();
  }

  // the server has sanitised this: only its own Markdown becomes elements. What is the same on the screen stays
  #settle(html, content) {
    if (this.shown === html) return;
    this.shown = html;
    const next = make("div", { innerHTML: html });
    this.#dress(next);
    if (this.growing) {
      this.growing.grow(content);
      this.growing.end();
      tidy(this.element);
    }
    this.growing = null;
    const old = [...this.element.childNodes];
    const fresh = [...next.childNodes];
    let same = 0;
    while (same < fresh.length && old[same]?.isEqualNode(fresh[same])) same += 1;
    for (const node of old.slice(same)) node.remove();
    this.element.append(...fresh.slice(same));
  }

  #dress(root) {
    for (const node of texts(root)) {
      if (!node.data.trim() && !INLINE_PARENTS.has(node.parentElement.tagName)) node.remove();
      else if (node.previousSibling?.nodeName === "BR") node.data = node.data.replace(/^\n/u, "");
    }
    for (const pre of root.querySelectorAll("pre")) {
      const code = pre.firstElementChild;
      code.textContent = code.textContent.replace(/\n$/u, "");
      pre.replaceWith(codeBlock(code));
    }
    for (const table of root.querySelectorAll("table")) {
      const place = document.createTextNode("");
      table.replaceWith(place);
      place.replaceWith(tableBox(table));
    }
    for (const node of texts(root)) if (!isApart(node, root)) this.#mark(node);
  }

  // addresses become links, and mentions of members can be seen
  #mark(node) {
    const parts = [];
    let at = 0;
    for (const { 0: found, index } of node.data.matchAll(SPECIAL)) {
      const marked = found.startsWith("@") ? this.#mention(found) : link(found, found);
      if (!marked) continue;
      parts.push(node.data.slice(at, index), marked);
      at = index + found.length;
    }
    if (at) node.replaceWith(...parts, node.data.slice(at));
  }

  #mention(word) {
    const name = word.slice(1).replaceAll('"', "");
    const meant = this.names(name) ?? this.names(name.replace(/[._-]+$/u, ""));
    return meant ? make("span", { className: meant.id === this.me ? "mention mine" : "mention" }, word.replaceAll('"', "")) : null;
  }
}

function texts(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) found.push(walker.currentNode);
  return found;
}

function isApart(node, root) {
  for (let one = node.parentElement; one && one !== root; one = one.parentElement) if (APART.has(one.tagName)) return true;
  return false;
}

// bring what has grown into the form that settled text has
function tidy(element) {
  for (const span of element.querySelectorAll("span")) span.replaceWith(...span.childNodes);
  element.normalize();
  for (const node of texts(element)) {
    const block = /^(?:P|H\d|LI|T[DH])$/u.test(node.parentElement.tagName);
    if (block && !node.previousSibling) node.data = node.data.trimStart();
    if (block && !node.nextSibling) node.data = node.data.trimEnd();
    if (!node.data) node.remove();
  }
}

async function copy(button) {
  const text = button.previousElementSibling.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C"; // not over plain HTTP: then it is selected
    getSelection().selectAllChildren(button.previousElementSibling);
  }
  setTimeout(() => (button.textContent = "Copy"), COPIED);
}

// Markdown while it is being written: elements are added and never thrown away, so nothing flickers. Only the elements
// and links that the server would make are made here, too; everything else stays the text it is.
import * as smd from "/neolith/static/vendor/smd-0.2.15.min.js";
import { make } from "/neolith/static/client/dom.js";

const SAFE_LINK = /^(?:https?:\/\/|mailto:)[^\s<>"]/iu;
const LANGUAGE = /^[A-Za-z0-9+#._-]{1,40}$/u;
const TAGS = new Map([
  [smd.PARAGRAPH, "p"], [smd.BLOCKQUOTE, "blockquote"], [smd.RULE, "hr"], [smd.STRIKE, "s"], [smd.CODE_INLINE, "code"],
  [smd.HEADING_1, "h1"], [smd.HEADING_2, "h2"], [smd.HEADING_3, "h3"], [smd.HEADING_4, "h4"], [smd.HEADING_5, "h5"],
  [smd.HEADING_6, "h6"], [smd.ITALIC_AST, "em"], [smd.ITALIC_UND, "em"], [smd.STRONG_AST, "strong"],
  [smd.STRONG_UND, "strong"], [smd.LIST_UNORDERED, "ul"], [smd.LIST_ORDERED, "ol"], [smd.LIST_ITEM, "li"],
]);
const SIGNS = new Map([[smd.EQUATION_BLOCK, "$$"], [smd.EQUATION_INLINE, "$"]]); // formulas are text

export function link(address, ...children) {
  return make("a", { href: address, rel: "nofollow noopener noreferrer", target: "_blank" }, ...children);
}

// what can be scrolled sideways can be reached by keyboard
export function codeBlock(code) {
  const copy = make("button", { type: "button", className: "copy", "aria-label": "Copy code" }, "Copy");
  return make("div", { className: "code" }, make("pre", { tabIndex: 0 }, code), copy);
}

export function tableBox(table) {
  return make("div", { className: "table", tabIndex: 0, role: "region", "aria-label": "Table" }, table);
}

export class Growing {
  constructor(element) {
    this.element = element;
    this.#restart();
  }

  // the text as it is now: mostly more of the same
  grow(text) {
    if (text === this.written) return;
    if (this.isEnded || !text.startsWith(this.written)) this.#restart();
    smd.parser_write(this.parser, text.slice(this.written.length));
    this.written = text;
  }

  end() {
    if (this.isEnded) return;
    this.isEnded = true;
    smd.parser_end(this.parser);
  }

  #restart() {
    this.element.replaceChildren();
    this.written = "";
    this.isEnded = false;
    this.parser = smd.parser(renderer(this.element));
  }
}

function renderer(root) {
  const open = [root]; // the innermost element is the last
  const ends = []; // text that an end brings
  const add = (element, inside = element, into = open.at(-1)) => {
    into.append(element);
    open.push(inside);
  };
  return {
    data: null,
    add_token(_, token) {
      ends.push(SIGNS.get(token) ?? "");
      if (token === smd.CODE_BLOCK || token === smd.CODE_FENCE) {
        const code = make("code");
        add(codeBlock(code), code);
      } else if (token === smd.TABLE) {
        const table = make("table");
        add(tableBox(table), table);
      } else if (token === smd.TABLE_ROW) addRow(add, open.at(-1));
      else if (token === smd.TABLE_CELL) add(make(open.at(-1).parentElement.tagName === "THEAD" ? "th" : "td"));
      else if (token === smd.LINK || token === smd.IMAGE || token === smd.RAW_URL) add(make("a"));
      else if (TAGS.has(token)) add(make(TAGS.get(token)));
      else addText(add, token);
    },
    end_token() {
      const element = open.pop();
      if (element.tagName === "A" && !element.href) literal(element);
      if (ends.at(-1)) element.append(ends.at(-1));
      ends.pop();
    },
    add_text(_, text) {
      open.at(-1).append(text);
    },
    set_attr(_, name, value) {
      setAttribute(open.at(-1), name, value);
    },
  };
}

function addRow(add, table) {
  const [head, rest] = table.children;
  const part = head ? (rest ?? table.appendChild(make("tbody"))) : table.appendChild(make("thead"));
  add(make("tr"), undefined, part);
}

function addText(add, token) {
  const text = { [smd.LINE_BREAK]: "\n", [smd.CHECKBOX]: "[ ]" }[token] ?? SIGNS.get(token) ?? "";
  add(make("span", {}, text));
}

function setAttribute(element, name, value) {
  if (name === smd.LANG && LANGUAGE.test(value)) element.className = `language-${value}`;
  else if (name === smd.START) element.setAttribute("start", value);
  else if (name === smd.CHECKED) element.textContent = "[x]";
  else if (name === smd.HREF || name === smd.SRC) {
    const [address] = value.trim().split(/\s/u, 1);
    if (SAFE_LINK.test(address)) Object.assign(element, { href: address, rel: "nofollow noopener noreferrer", target: "_blank" });
    else element.dataset.refused = value;
  }
}

// a link that leads nowhere good is shown as it was written
function literal(element) {
  const { refused } = element.dataset;
  element.replaceWith(...(refused === undefined ? element.childNodes : ["[", ...element.childNodes, `](${refused})`]));
}

// The form of the charter editor: fills its fields, reads them, and says at each what is wrong with it.
import { button, make } from "../client/dom.js";
import { get, same, set, shown } from "./charter_paths.js";

const CAUSES = [["failure", "an answer failed"], ["refusal", "a message was refused"], ["budget", "a budget is used up"],
  ["approval", "an approval is needed"], ["hours", "it was called out of hours"], ["keyword", "a word was said"]];
const IDENTITY = ["name", "role", "discipline", "description"];

export class Form {
  constructor(element, changed) {
    this.element = element;
    this.changed = changed;
    this.fields = {};
    this.inputs = [...element.querySelectorAll("[data-path]")];
    element.addEventListener("submit", (event) => event.preventDefault());
    element.addEventListener("input", ({ target }) => {
      if (target.dataset.path) this.#set(target.dataset.path, value(target));
      else if (target.closest("#escalations")) this.#set("availability.escalation", this.#escalations());
    });
    element.querySelector("#add-escalation").addEventListener("click", () => {
      const row = this.#rule({ on: "failure" });
      this.#rules.append(row);
      row.querySelector("select").focus();
      this.#set("availability.escalation", this.#escalations());
    });
  }

  get #rules() {
    return this.element.querySelector("#escalations");
  }

  #set(path, value) {
    this.fields = set(this.fields, path, value);
    this.changed();
  }

  fill(fields) {
    this.fields = fields;
    for (const input of this.inputs) {
      const text = written(get(fields, input.dataset.path));
      if (input.tagName === "SELECT" && text && ![...input.options].some((one) => one.value === text)) input.add(new Option(text, text));
      if (input.value !== text) input.value = text;
    }
    const rules = [].concat(get(fields, "availability.escalation") ?? []);
    this.#rules.replaceChildren(...rules.map((rule) => this.#rule(rule)));
    for (const part of this.element.querySelectorAll(".part")) {
      if ([...part.querySelectorAll("[data-path]")].some((one) => one.value)) part.open = true;
    }
  }

  // paths that the charter has and the form does not show
  others(paths) {
    const known = new Set([...this.inputs.map((one) => one.dataset.path), "availability.escalation"]);
    return paths.filter((path) => !known.has(path) && !(path === "name" && known.has("name")));
  }

  // what holds besides what is written here
  showHolds(inForce) {
    for (const input of this.inputs) {
      const path = input.dataset.path;
      const hint = input.closest(".field").querySelector(".holds");
      const [own, held] = [get(this.fields, path), get(inForce ?? {}, path)];
      hint.hidden = !inForce || held === undefined || !shown(held) || same(own, held);
      const source = IDENTITY.includes(path) ? "as its user and its entry say" : "from the organization's charter";
      hint.textContent = own === undefined ? `Holds: ${shown(held)}, ${source}.` : `Holds: ${shown(held)}, as the organization says.`;
    }
  }

  // problems at the field that they are about; the answer has those that no field is about
  showProblems(problems) {
    const rest = [];
    const texts = new Map();
    for (const one of problems) {
      const box = this.#box(one.at);
      if (box) texts.set(box, [...(texts.get(box) ?? []), one.problem]);
      else rest.push(one);
    }
    for (const box of this.element.querySelectorAll("[data-field]")) {
      const told = box.querySelector(".problem");
      const found = texts.get(box);
      told.textContent = found?.join("; ") ?? "";
      told.hidden = !found;
      for (const input of box.querySelectorAll("[data-path]")) {
        if (found) input.setAttribute("aria-invalid", "true");
        else input.removeAttribute("aria-invalid");
      }
    }
    for (const part of this.element.querySelectorAll(".part")) {
      const count = [...part.querySelectorAll("[data-field]")].filter((box) => texts.has(box)).length;
      const tag = part.querySelector(".count");
      tag.hidden = !count;
      tag.textContent = count === 1 ? "1 problem" : `${count} problems`;
    }
    return rest;
  }

  focus(at) {
    const box = this.#box(at);
    if (!box) return;
    box.closest("details").open = true;
    box.querySelector("input, select, textarea, button").focus();
  }

  #box(at) {
    for (let path = at; path; path = path.slice(0, Math.max(0, path.lastIndexOf(".")))) {
      const box = this.element.querySelector(`[data-field="${CSS.escape(path)}"]`);
      if (box) return box;
    }
    return null;
  }

  #rule({ on, to, keywords }) {
    const cause = make("select", { "aria-label": "When", data: { rule: "on" } }, ...CAUSES.map(([name, text]) => new Option(text, name)));
    cause.value = on;
    const people = make("input", { "aria-label": "Whom", placeholder: "Whom: handles, names", value: written(to), data: { rule: "to" } });
    const words = make("input", { "aria-label": "Words", placeholder: "Words", value: written(keywords), data: { rule: "keywords" } });
    const gone = button("remove", "Remove", () => {
      row.remove();
      this.element.querySelector("#add-escalation").focus();
      this.#set("availability.escalation", this.#escalations());
    });
    const row = make("div", { className: "rule" }, cause, people, words, gone);
    const fit = () => (words.hidden = cause.value !== "keyword");
    cause.addEventListener("input", fit);
    fit();
    return row;
  }

  #escalations() {
    const rules = [...this.#rules.children].map((row) => {
      const [on, to, keywords] = ["on", "to", "keywords"].map((name) => row.querySelector(`[data-rule=${name}]`).value);
      return { on, to: split(to), ...(on === "keyword" ? { keywords: split(keywords) } : {}) };
    });
    return rules.length ? rules : undefined;
  }
}

function value(input) {
  const text = input.value;
  if (!text.trim()) return undefined;
  if (input.dataset.kind === "list") return split(text);
  if (input.dataset.kind === "switch") return text === "true" ? true : text === "false" ? false : text;
  if (input.dataset.kind === "number") return /^-?\d{1,15}(\.\d{1,6})?$/.test(text.trim()) ? Number(text) : text;
  return text;
}

// with commas, or with ; where one of them has a comma
function split(text) {
  return text.split(text.includes(";") ? ";" : ",").map((one) => one.trim()).filter(Boolean);
}

// as a field shows it
function written(value) {
  if (value === undefined || value === null) return "";
  if (typeof value === "object" && !Array.isArray(value)) return JSON.stringify(value);
  const list = [].concat(value);
  if (!Array.isArray(value) || !list.some((one) => String(one).includes(","))) return list.join(", ");
  return list.length > 1 ? list.join("; ") : `${list[0]};`;
}

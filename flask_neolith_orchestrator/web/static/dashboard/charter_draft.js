// A charter that is being written: as a form or as text, checked by the server, kept in this tab until it is saved.
import { ask } from "../client/api.js";
import { stable } from "./charter_paths.js";

const PAUSE = 250; // milliseconds

export class Draft {
  // path: the charter's in the API; checked(report): what the server says of it by now; failed(error): it did not
  constructor(path, { checked, failed, changed }) {
    Object.assign(this, { path, checked, failed, changed });
    this.key = `neolith-charter:${document.body.dataset.me}:${path}`;
    Object.assign(this, { mode: "form", fields: {}, text: "", reason: "", report: null, pending: false });
  }

  // what is written now, to see later whether somebody has gone on writing
  get typed() {
    return { content: this.mode === "form" ? stable(this.fields) : this.text, reason: this.reason };
  }

  // begin with what is saved; `fields` is the same with each field by its own name. What was written since `sent` stays
  begin(saved, report, sent = this.typed) {
    const { content, reason } = this.typed;
    this.base = saved.version;
    this.original = report.fields;
    if (reason === sent.reason) this.reason = "";
    if (content === sent.content) this.#take(report);
    this.keep();
  }

  // other fields on top of what is saved now
  rebase(saved, original, fields) {
    this.base = saved.version;
    this.original = original;
    return this.replace(fields);
  }

  async replace(fields) {
    this.#take(await this.#check({ charter: fields }));
    this.keep();
  }

  #take(report) {
    this.report = report;
    this.fields = report.fields;
    this.text = this.#written(report);
    this.pending = false;
  }

  #written(report) {
    return this.mode === "json" ? `${JSON.stringify(report.charter, null, 2)}\n` : report.yaml;
  }

  get isDirty() {
    if (this.original === undefined) return false;
    if (this.pending) return true; // until it has been looked at
    return this.mode !== "form" && !this.report?.fields ? true : stable(this.fields) !== stable(this.original);
  }

  get charter() {
    return this.mode === "form" ? this.fields : this.report?.charter;
  }

  edit(values) {
    Object.assign(this, values);
    this.pending = true;
    this.keep();
    this.changed();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle().catch(this.failed), PAUSE);
  }

  // what the server says of the draft as it is now
  async settle() {
    clearTimeout(this.timer);
    if (!this.pending && this.report) return this.report;
    const asked = this.mode === "form" ? { charter: this.fields } : { text: this.text };
    const as = JSON.stringify(asked);
    const report = await this.#check(asked);
    if (as !== JSON.stringify(this.mode === "form" ? { charter: this.fields } : { text: this.text })) return this.settle();
    this.report = report;
    this.pending = false;
    if (this.mode !== "form" && report.fields) this.fields = report.fields;
    this.keep();
    this.checked(report);
    return report;
  }

  async #check(asked) {
    this.stop?.abort();
    this.stop = new AbortController();
    return ask("POST", `${this.path}/validate`, asked, { signal: this.stop.signal });
  }

  // false where the text cannot be read, and so not shown in another way
  async show(mode) {
    const report = await this.settle();
    if (!report.charter) return false;
    this.mode = mode;
    if (mode !== "form") this.text = this.#written(report);
    this.keep();
    return true;
  }

  keep() {
    const { base, mode, fields, text, reason, original } = this;
    try {
      if (this.isDirty || reason) sessionStorage.setItem(this.key, JSON.stringify({ base, mode, fields, text, reason, original }));
      else this.forget();
    } catch {
      // no storage: what is typed is on the page
    }
  }

  kept() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key));
    } catch {
      return null;
    }
  }

  forget() {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // there is none
    }
  }
}

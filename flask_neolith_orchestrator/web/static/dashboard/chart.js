// One chart: uPlot on a canvas, and beside it all that the canvas cannot be: title, unit, legend, keys, and a table.
import { make } from "../client/dom.js";
import { HEIGHT, plotOptions } from "./chart_plot.js";
import { fill, say, showIf, tell } from "./inplace.js";

let numbered = 0;

export class Chart {
  // spec: {title, unit, kind: "bars" (stacked) or "lines", series: [{label, hue, isDashed, of(item)}], format(value),
  // axis(value), whole(totals)}
  constructor(spec) {
    this.spec = spec;
    const id = `chart-${++numbered}`;
    this.total = make("strong", { className: "total" });
    this.when = make("span");
    this.legend = make("ul", { className: "legend" });
    for (const one of spec.series) this.addToLegend(one);
    this.plot = make("div", {
      className: "plot",
      tabIndex: 0,
      role: "slider",
      "aria-label": `${spec.title}, by time`,
      "aria-valuemin": 0,
    });
    this.empty = make("p", { className: "empty", hidden: true }, spec.nothing);
    this.summary = make("summary", {}, "As a table");
    this.rows = make("div", {
      className: "scroll",
      tabIndex: 0,
      role: "region",
      "aria-label": `${spec.title} as a table`,
    });
    this.details = make("details", {}, this.summary, this.rows);
    const head = make("div", { className: "bar" }, make("h3", { id }, spec.title), this.total);
    const about = make("p", { className: "about" }, `${spec.unit}, `, this.when);
    const parts = [head, about, this.legend, this.plot, this.empty, this.details];
    this.element = make("section", { className: "card chart", "aria-labelledby": id }, ...parts);
    this.plot.addEventListener("keydown", (event) => this.move(event));
    this.plot.addEventListener("blur", () => this.uplot?.setCursor({ left: -10, top: -10 }));
    this.details.addEventListener("toggle", () => this.showTable());
    new ResizeObserver(() => this.resize()).observe(this.plot);
    this.at = null;
  }

  // what is drawn dashed stands beside what it belongs to
  addToLegend(one) {
    one.value = make("b");
    one.swatch = make("i", {
      className: `swatch hue-${one.hue}${one.isDashed ? " dashed" : ""}`,
      "aria-hidden": "true",
    });
    const item = one.isDashed ? this.legend.lastElementChild : this.legend.appendChild(make("li"));
    item.append(make("span", {}, one.swatch, one.short ?? one.label, " ", one.value));
  }

  // figures as the API answers; `span` is what the axis of time shows: {from, to, step} in seconds, label(at), tick(at)
  show(figures, span) {
    this.figures = figures;
    this.span = span;
    const items = figures.items;
    const values = this.spec.series.map((one) => items.map((item) => one.of(item)));
    const isEmpty = !values.flat().some((value) => value);
    showIf(this.empty, isEmpty);
    showIf(this.plot, !isEmpty);
    showIf(this.details, !isEmpty);
    showIf(this.legend, !isEmpty);
    say(this.total, isEmpty ? "" : this.spec.whole(figures.totals));
    tell(this.plot, "aria-valuemax", items.length - 1);
    this.data = [items.map((item) => Date.parse(item.at) / 1000 + span.step / 2), ...this.drawn(values)];
    if (!isEmpty) this.draw();
    this.point(this.at !== null && this.at < items.length ? this.at : null);
    this.showTable();
  }

  // stacked: the tallest first, and each in front of it covers what is below
  drawn(values) {
    if (this.spec.kind === "lines") return values;
    const sums = [];
    values.reduce((below, column) => {
      const sum = column.map((value, index) => value + (below[index] ?? 0));
      sums.unshift(sum);
      return sum;
    }, []);
    return sums;
  }

  draw() {
    if (this.uplot && this.drawnAs === this.span.name) {
      this.uplot.setData(this.data);
      return;
    }
    this.uplot?.destroy();
    this.drawnAs = this.span.name;
    this.uplot = new window.uPlot(plotOptions(this), this.data, this.plot);
    for (const canvas of this.plot.querySelectorAll("canvas")) canvas.setAttribute("aria-hidden", "true");
  }

  resize() {
    const { clientWidth } = this.plot;
    if (this.uplot && clientWidth && clientWidth !== this.uplot.width)
      this.uplot.setSize({ width: clientWidth, height: HEIGHT });
  }

  // other colours, the same data
  redraw() {
    if (this.uplot) this.uplot.redraw();
  }

  move(event) {
    const last = this.figures.items.length - 1;
    const from = this.at ?? last + 1;
    const to = {
      ArrowLeft: from - 1,
      ArrowDown: from - 1,
      ArrowRight: from + 1,
      ArrowUp: from + 1,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const index = Math.min(Math.max(to, 0), last);
    this.uplot.setCursor({ left: this.uplot.valToPos(this.data[0][index], "x"), top: HEIGHT / 3 });
    this.point(index);
  }

  // what the legend says: one moment, or the whole span
  point(index) {
    this.at = index;
    const { spec } = this;
    const item = index === null ? this.figures.totals : this.figures.items[index];
    const when = index === null ? this.span.name : this.span.label(item.at);
    for (const one of spec.series) say(one.value, spec.format(one.of(item)));
    say(this.when, when);
    tell(this.plot, "aria-valuenow", index ?? this.figures.items.length - 1);
    tell(
      this.plot,
      "aria-valuetext",
      `${when}: ${spec.series.map((one) => `${one.label} ${spec.format(one.of(item))}`).join(", ")}`,
    );
  }

  showTable() {
    if (!this.details.open || !this.figures) return;
    const { spec, figures, span } = this;
    const cells = (item) => spec.series.map((one) => make("td", { className: "number" }, spec.format(one.of(item))));
    fill(this.rows, figures, () =>
      make(
        "table",
        {},
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            ...["Time", ...spec.series.map((one) => one.label)].map((name) => make("th", { scope: "col" }, name)),
          ),
        ),
        make(
          "tbody",
          {},
          ...figures.items.map((item) =>
            make("tr", {}, make("th", { scope: "row" }, span.label(item.at)), ...cells(item)),
          ),
        ),
      ),
    );
  }
}

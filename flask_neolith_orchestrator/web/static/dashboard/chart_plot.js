// How a chart is drawn: what uPlot is told, in the colours of the page.
import { make } from "../client/dom.js";

export const HEIGHT = 170; // pixels
const TICK = 60; // pixels between two labels of time, at the least
const WHOLE = [1, 2, 5]
  .flatMap((step) => [0, 1, 2, 3, 4, 5, 6, 7].map((power) => step * 10 ** power))
  .sort((a, b) => a - b);

// `chart` has its spec, the span of time it shows, the element it is drawn in, and point(index)
export function plotOptions(chart) {
  const ink = (name) => () => colour(chart.plot, name);
  const grid = { stroke: ink("--line"), width: 1 };
  const axis = { stroke: ink("--soft"), grid, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const isBars = chart.spec.kind === "bars";
  const series = isBars ? [...chart.spec.series].reverse() : chart.spec.series;
  return {
    width: chart.plot.clientWidth || 300,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 22, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { show: !isBars } },
    scales: {
      x: { range: () => [chart.span.from, chart.span.to] },
      y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      {
        ...axis,
        size: 26,
        space: TICK,
        incrs: chart.span.ticks,
        values: (_plot, at) => at.map(chart.span.tick),
        grid: { show: false },
      },
      {
        ...axis,
        size: 52,
        space: 32,
        values: (_plot, all) => all.map(chart.spec.axis),
        ...(chart.spec.areWhole && { incrs: WHOLE }),
      },
    ],
    tzDate: (at) => window.uPlot.tzDate(new Date(at * 1e3), chart.span.zone),
    series: [{}, ...series.map((one) => (isBars ? bars(one) : line(one)))],
    hooks: { setCursor: [(plot) => chart.point(plot.cursor.idx ?? null)] },
  };
}

function bars(one) {
  const fill = () => swatchColour(one);
  return {
    fill,
    stroke: fill,
    width: 0,
    paths: window.uPlot.paths.bars({ size: [0.72, 28] }),
    points: { show: false },
  };
}

function line(one) {
  return {
    stroke: () => swatchColour(one),
    width: 2,
    dash: one.isDashed ? [5, 4] : undefined,
    points: { size: 5, filter: (plot, index, all) => (all ? null : lonely(plot.data[index])) },
    spanGaps: true,
  };
}

// where many lie close together, points are drawn for those alone that no line leads to
function lonely(values) {
  const has = (index) => values[index] !== null && values[index] !== undefined;
  return [...values.keys()].filter((index) => has(index) && !has(index - 1) && !has(index + 1));
}

function swatchColour(one) {
  return getComputedStyle(one.swatch).color;
}

// a custom property of the theme as a colour that a canvas takes
function colour(element, name) {
  const probe = element.appendChild(make("i", { className: `ink${name}` }));
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

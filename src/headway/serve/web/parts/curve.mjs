/** Lines with labelled axes: a lesson's bits, quality by length, spectra. */
import { html } from "../vendor/preact-htm.mjs";

const WIDTH = 480;
const HEIGHT = 240;
const LEFT = 52;
const BOTTOM = 40;
const TOP = 14;
const RIGHT = 12;
const MARKED = 12; // points of a line, up to which each has a mark

/**
 * @param {object} props
 * @param {Array<{name: string, points: Array<[number, number]>}>} props.series  with at least two points in all
 * @param {string} props.x
 * @param {string} props.y
 * @param {string} props.label
 */
export function Curve({ series, x, y, label }) {
  const points = series.flatMap((one) => one.points);
  const farthest = Math.max(1, ...points.map(([at]) => at));
  const ticks = ticksTo(Math.max(...points.map(([, value]) => value), 0.1));
  const highest = ticks[ticks.length - 1] ?? 1;
  /** @param {number} at */
  const across = (at) => LEFT + (at / farthest) * (WIDTH - LEFT - RIGHT);
  /** @param {number} value */
  const down = (value) => TOP + (1 - value / highest) * (HEIGHT - TOP - BOTTOM);
  const last = points[points.length - 1];
  return html`<figure class="curve">
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${label}; now ${last?.[1].toFixed(2) ?? "nothing"}`}>
      ${ticks.map((value) => html`<g key=${value}>
        <line class="grid" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${down(value)} y2=${down(value)} />
        <text x=${LEFT - 6} y=${down(value) + 4} text-anchor="end">${value}</text></g>`)}
      ${ticksTo(farthest).filter((at) => at <= farthest && Number.isInteger(at)).map((at) => html`<text key=${`x${at}`} x=${across(at)} y=${HEIGHT - BOTTOM + 16}
        text-anchor=${at === farthest ? "end" : "middle"}>${at}</text>`)}
      <text x=${(LEFT + WIDTH - RIGHT) / 2} y=${HEIGHT - 6} text-anchor="middle">${x}</text>
      <text x=${10} y=${(TOP + HEIGHT - BOTTOM) / 2} text-anchor="middle"
        transform=${`rotate(-90 10 ${(TOP + HEIGHT - BOTTOM) / 2})`}>${y}</text>
      ${series.map((one, number) => html`<g key=${one.name} class=${`line-${number}`}>
        <polyline points=${one.points.map(([at, value]) => `${across(at).toFixed(1)},${down(value).toFixed(1)}`).join(" ")} />
        ${one.points.length > MARKED ? null : one.points.map(([at, value]) => html`<circle key=${at} cx=${across(at)} cy=${down(value)} r="3" />`)}</g>`)}
    </svg>
    <figcaption class="legend">${series.map((one, number) => html`<span key=${one.name}><span class=${`line-sample line-${number}`}></span> ${one.name}</span>`)}</figcaption>
  </figure>`;
}

/**
 * Round values from 0 to at least the highest.
 * @param {number} highest
 * @returns {number[]}
 */
function ticksTo(highest) {
  const power = 10 ** Math.floor(Math.log10(highest));
  const step = [0.1, 0.2, 0.5, 1, 2].map((one) => one * power).find((one) => highest / one <= 6) ?? power;
  return Array.from({ length: Math.ceil(highest / step - 1e-9) + 1 }, (_, at) => Number((at * step).toPrecision(6)));
}

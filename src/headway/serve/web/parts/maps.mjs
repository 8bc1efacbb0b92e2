/** Attention maps on canvases: small ones of every head, and one head large. */
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";
import { spoken } from "./tokens.mjs";

/**
 * @param {string} data  base64
 * @returns {Uint8Array}
 */
export function bytesOf(data) {
  return Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
}

/**
 * Probabilities from base64 of little-endian 16-bit numbers.
 * @param {string} data
 * @returns {Float32Array}
 */
export function probabilitiesOf(data) {
  const bytes = bytesOf(data);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, at) => view.getUint16(at * 2, true) / 65535);
}

/**
 * Paints a map of values 0..1 into a canvas, a cell each, in the colour of its text; again when the colours change.
 * @param {{rows: number, columns: number, valueAt: (row: number, column: number) => number, cell: number, label: string,
 *   onPlace?: (place: [number, number] | null) => void}} props
 */
export function MapCanvas({ rows, columns, valueAt, cell, label, onPlace }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  useEffect(() => {
    const draw = () => {
      const context = canvas.current?.getContext("2d");
      if (canvas.current === null || !context) {
        return;
      }
      context.clearRect(0, 0, columns * cell, rows * cell);
      context.fillStyle = getComputedStyle(canvas.current).color;
      for (let row = 0; row < rows; row += 1) {
        for (let column = 0; column < columns; column += 1) {
          const value = valueAt(row, column);
          if (value > 0.004) {
            context.globalAlpha = Math.min(1, value);
            context.fillRect(column * cell, row * cell, cell, cell);
          }
        }
      }
      context.globalAlpha = 1;
    };
    draw();
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    addEventListener("headway-appearance", draw);
    return () => {
      scheme.removeEventListener("change", draw);
      removeEventListener("headway-appearance", draw);
    };
  }, [rows, columns, valueAt, cell]);
  /** @param {MouseEvent} event */
  const place = (event) => {
    const box = /** @type {HTMLCanvasElement} */ (event.target).getBoundingClientRect();
    onPlace?.([Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns)]);
  };
  return html`<canvas ref=${canvas} role="img" aria-label=${label} width=${columns * cell} height=${rows * cell}
    onMouseMove=${onPlace === undefined ? undefined : place} onMouseLeave=${() => onPlace?.(null)}></canvas>`;
}

/**
 * Every head of every layer as a button with its map.
 * @param {{layers: number, heads: number, side: number, data: string, selected: [number, number], off: Set<string>,
 *   onSelect: (layer: number, head: number) => void}} props
 */
export function Thumbnails({ layers, heads, side, data, selected, off, onSelect }) {
  const grid = useRef(/** @type {HTMLElement | null} */ (null));
  const bytes = bytesOf(data);
  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const [layer, head] = (/** @type {HTMLElement} */ (event.target).dataset.at ?? "0.0").split(".").map(Number);
    const moves = /** @type {Record<string, [number, number]>} */ ({
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] });
    const move = moves[event.key];
    if (move === undefined) {
      return;
    }
    event.preventDefault();
    const next = grid.current?.querySelector(`[data-at="${(layer ?? 0) + move[0]}.${(head ?? 0) + move[1]}"]`);
    if (next instanceof HTMLElement) {
      next.focus();
    }
  }
  return html`<div class="heads-scroll"><div class="heads" role="group" aria-label="All heads of all layers" ref=${grid} onKeyDown=${onKey}>
    ${Array.from({ length: layers }, (_, layer) => html`<div class="heads-row" key=${layer}>
      <span class="heads-name">${layer}</span>
      ${Array.from({ length: heads }, (_, head) => {
        const chosen = layer === selected[0] && head === selected[1];
        const first = (layer * heads + head) * side * side;
        const silent = off.has(`${layer}.${head}`);
        return html`<button type="button" key=${head} class=${`head${silent ? " silent" : ""}`} data-at=${`${layer}.${head}`}
          tabindex=${chosen ? 0 : -1} aria-pressed=${chosen ? "true" : "false"}
          aria-label=${`Layer ${layer}, head ${head}${silent ? ", switched off" : ""}`} onClick=${() => onSelect(layer, head)}>
          <${MapCanvas} rows=${side} columns=${side} cell=${2} label=""
            valueAt=${(/** @type {number} */ row, /** @type {number} */ column) => (bytes[first + row * side + column] ?? 0) / 255} /></button>`;
      })}</div>`)}
  </div></div>`;
}

/**
 * One head, large: rows read columns. Below, the tokens that the row under the pointer reads.
 * @param {{rows: string[], columns: string[], values: Float32Array, first: number, label: string}} props
 */
export function HeadLarge({ rows, columns, values, first, label }) {
  const [place, setPlace] = useState(/** @type {[number, number] | null} */ (null));
  const [row, column] = place ?? [rows.length - 1, -1];
  /** @param {number} at @param {number} to */
  const valueAt = (at, to) => values[first + at * columns.length + to] ?? 0;
  const read = columns.map((text, at) => ({ text, at, value: valueAt(row, at) })).sort((one, two) => two.value - one.value).slice(0, 5);
  const cell = Math.max(2, Math.min(24, Math.floor(520 / Math.max(rows.length, columns.length))));
  return html`<figure class="head-large">
    <${MapCanvas} rows=${rows.length} columns=${columns.length} cell=${cell} label=${label} valueAt=${valueAt} onPlace=${setPlace} />
    <figcaption class="hint">Each row is a token, each column one that it may read; dark means much.
      ${column >= 0 ? html` <b>${spoken(rows[row] ?? "")}</b> reads <b>${spoken(columns[column] ?? "")}</b>:
        ${(valueAt(row, column) * 100).toFixed(1)} %.` : null}</figcaption>
    <p class="figures">${`"${spoken(rows[row] ?? "")}" reads most of: `}${read.map((one, at) => html`<span key=${at}>${at === 0 ? "" : ", "}<q>${spoken(one.text)}</q> ${(one.value * 100).toFixed(0)} %</span>`)}</p>
    <${Lines} rows=${rows} columns=${columns} valueAt=${valueAt} row=${row} />
  </figure>`;
}

/**
 * The same head as lines from each token to what it reads; those of one row stand out.
 * @param {{rows: string[], columns: string[], valueAt: (row: number, column: number) => number, row: number}} props
 */
function Lines({ rows, columns, valueAt, row }) {
  if (rows.length > 48 || columns.length > 48) {
    return null;
  }
  const line = 18;
  const height = Math.max(rows.length, columns.length) * line + 8;
  const drawn = rows.flatMap((_, from) => columns.map((__, to) => ({ from, to, value: valueAt(from, to) })).filter((one) => one.value > 0.05));
  return html`<svg class="lines" viewBox=${`0 0 420 ${height}`} role="img" aria-label="The same head as lines">
    ${drawn.map((one) => html`<line key=${`${one.from}-${one.to}`} x1="150" x2="270" y1=${one.from * line + 13} y2=${one.to * line + 13}
      stroke="currentColor" stroke-width=${one.from === row ? 3 : 1.5} opacity=${one.from === row ? Math.max(0.4, one.value) : one.value * 0.6} />`)}
    ${rows.map((text, at) => html`<text key=${`r${at}`} x="144" y=${at * line + 17} text-anchor="end" class=${at === row ? "now" : ""}>${spoken(text)}</text>`)}
    ${columns.map((text, at) => html`<text key=${`c${at}`} x="276" y=${at * line + 17}>${spoken(text)}</text>`)}
  </svg>`;
}

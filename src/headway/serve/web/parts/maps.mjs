/** Attention maps on canvases: small ones of every head, and one head large. */
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-htm.mjs";
import { Tokens, spoken } from "./tokens.mjs";

/**
 * @param {string} data  base64
 * @returns {Uint8Array}
 */
export function bytesOf(data) {
  const letters = atob(data);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at += 1) {
    bytes[at] = letters.charCodeAt(at);
  }
  return bytes;
}

/**
 * Probabilities from base64 of little-endian 16-bit numbers.
 * @param {string} data
 * @returns {Float32Array}
 */
export function probabilitiesOf(data) {
  const bytes = bytesOf(data);
  const values = new Float32Array(bytes.length / 2);
  for (let at = 0; at < values.length; at += 1) {
    values[at] = ((bytes[2 * at] ?? 0) + 256 * (bytes[2 * at + 1] ?? 0)) / 65535;
  }
  return values;
}

const channels = /** @type {Map<string, number[]>} */ (new Map());

/**
 * Red, green and blue of a colour as a style has it, 0..255 each.
 * @param {string} colour
 * @returns {number[]}
 */
function channelsOf(colour) {
  let found = channels.get(colour);
  if (found === undefined) {
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(1, 1).getContext("2d"));
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    found = [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    channels.set(colour, found);
  }
  return found;
}

/**
 * Paints a map of values -1..1 into a canvas, a cell each, in the colour of its text, and in that of warnings below 0;
 * again when the colours change or `valueAt` is another function, which it should be for other values alone.
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
      const style = getComputedStyle(canvas.current);
      const above = channelsOf(style.color);
      const below = channelsOf(style.getPropertyValue("--warn"));
      const width = columns * cell;
      const picture = context.createImageData(width, rows * cell);
      const pixels = picture.data;
      for (let row = 0; row < rows; row += 1) {
        const first = row * cell * width * 4;
        for (let column = 0; column < columns; column += 1) {
          const value = valueAt(row, column);
          const colour = value > 0 ? above : below;
          const shade = Math.round(255 * Math.min(1, Math.abs(value)));
          for (let at = first + column * cell * 4; at < first + (column + 1) * cell * 4; at += 4) {
            pixels[at] = colour[0] ?? 0;
            pixels[at + 1] = colour[1] ?? 0;
            pixels[at + 2] = colour[2] ?? 0;
            pixels[at + 3] = shade;
          }
        }
        for (let line = 1; line < cell; line += 1) {
          pixels.copyWithin(first + line * width * 4, first, first + width * 4);
        }
      }
      context.putImageData(picture, 0, 0);
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
  return html`<canvas ref=${canvas} role=${label === "" ? "presentation" : "img"} aria-label=${label === "" ? undefined : label}
    width=${columns * cell} height=${rows * cell} onMouseMove=${onPlace === undefined ? undefined : place} onMouseLeave=${() => onPlace?.(null)}></canvas>`;
}

/**
 * Every head of every layer as a button with its map; a layer that does not attend has none.
 * @param {{layers: number, heads: number, side: number, data: string, attends: number[], selected: [number, number], off: Set<string>,
 *   onSelect: (layer: number, head: number) => void}} props
 */
export function Thumbnails({ layers, heads, side, data, attends, selected, off, onSelect }) {
  const grid = useRef(/** @type {HTMLElement | null} */ (null));
  const values = useMemo(() => {
    const bytes = bytesOf(data);
    return Array.from({ length: layers * heads }, (_, at) => (/** @type {number} */ row, /** @type {number} */ column) =>
      (bytes[(at * side + row) * side + column] ?? 0) / 255);
  }, [data, layers, heads, side]);
  const none = !attends.includes(selected[0]) || selected[1] >= heads;
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
      ${!attends.includes(layer) ? html`<span class="hint">no attention</span>` : Array.from({ length: heads }, (_, head) => {
        const chosen = layer === selected[0] && head === selected[1];
        const silent = off.has(`${layer}.${head}`);
        return html`<button type="button" key=${head} class=${`head${silent ? " silent" : ""}`} data-at=${`${layer}.${head}`}
          tabindex=${chosen || (none && layer === attends[0] && head === 0) ? 0 : -1} aria-pressed=${chosen ? "true" : "false"}
          aria-label=${`Layer ${layer}, head ${head}${silent ? ", switched off" : ""}`} onClick=${() => onSelect(layer, head)}>
          <${MapCanvas} rows=${side} columns=${side} cell=${1} label=""
            valueAt=${values[layer * heads + head]} /></button>`;
      })}</div>`)}
  </div></div>`;
}

const LABELLED = 60; // tokens a side; beyond, a map with room for names would be wider than a screen
const ROOTED = 40; // tokens a side; beyond, each is read so little that plain shares would hardly show
const LEAST = 0.75; // rem, the height of a label

/**
 * A map with its rows and columns named; large ones go without names. Sizes are in rem, so that large type enlarges it.
 * Its cells are made smaller, down to what a name needs, where it would be wider than the figure that it stands in.
 * @param {{rows: string[], columns: string[], valueAt: (row: number, column: number) => number, label: string,
 *   row?: number, onPlace: (place: [number, number] | null) => void}} props
 */
export function LabelledMap({ rows, columns, valueAt, label, row = -1, onPlace }) {
  const longest = Math.max(rows.length, columns.length);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const cell = longest > LABELLED ? Math.max(2, Math.floor(520 / longest)) : longest > 24 || matchMedia("(max-width: 640px)").matches ? 16 : 20;
  const map = html`<${MapCanvas} rows=${rows.length} columns=${columns.length} cell=${cell} label=${label} valueAt=${valueAt} onPlace=${onPlace} />`;
  const [size, fits] = useFitting(box, cell / 16, columns.length, longest > LABELLED ? "" : rows.join("\n"));
  if (longest > LABELLED) {
    return map;
  }
  const step = `${size}rem`;
  return html`<div class="scrolls" tabindex="0" role="region" aria-label=${`${label}, map`} ref=${box}><div class="labelled">
    <div class="labelled-columns" aria-hidden="true">${columns.map((text, at) => html`<span key=${at} style=${{ width: step }}>${spoken(text)}</span>`)}</div>
    <div class="labelled-rows" aria-hidden="true">${rows.map((text, at) => html`<span key=${at} class=${at === row ? "now" : ""}
      style=${{ height: step, lineHeight: step }}>${spoken(text)}</span>`)}</div>
    <div class="labelled-map" style=${{ width: `${columns.length * size}rem` }}>${map}</div>
  </div></div>${fits ? null : html`<p class="hint" aria-hidden="true">The map goes on to the right.</p>`}`;
}

/**
 * The size of a cell, in rem, and whether the columns have room for it beside their rows' names.
 * @param {{current: HTMLElement | null}} box  the map's, in a figure as wide as its own place
 * @param {number} most  rem
 * @param {number} columns
 * @param {string} names  the rows', whose width counts
 * @returns {[number, boolean]}
 */
function useFitting(box, most, columns, names) {
  const [found, setFound] = useState(/** @type {[number, boolean]} */ ([most, true]));
  useLayoutEffect(() => {
    const figure = box.current?.closest("figure");
    if (!figure) {
      setFound([most, true]);
      return undefined;
    }
    const measure = () => {
      const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      const beside = figure.querySelector(".labelled-rows")?.getBoundingClientRect().width ?? 0;
      const room = (figure.clientWidth - beside - 4) / rem / columns; // 4: the borders, and what is lost in rounding
      const size = Math.max(LEAST, Math.min(most, Math.floor(room * 64) / 64));
      setFound((before) => (before[0] === size && before[1] === room >= LEAST ? before : [size, room >= LEAST]));
    };
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(figure);
    addEventListener("headway-appearance", measure);
    return () => {
      watch.disconnect();
      removeEventListener("headway-appearance", measure);
    };
  }, [most, columns, names]);
  return found;
}

/**
 * What the strength of a map's colour means.
 * @param {{rooted?: boolean}} props
 */
export function Scale({ rooted = false }) {
  return html`<p class="legend"><span class="legend-title">Attention:</span> 0 % <span class="scale"></span> 100 %${rooted ? ", colour by its square root" : ""}</p>`;
}

/**
 * One head, large: the text shaded by what one token reads, the head as a matrix and as lines. A token that is pointed
 * at or picked says what it reads.
 * @param {{rows: string[], columns: string[], values: Float32Array, first: number, label: string, start?: number}} props
 *   start: the token that is shown before one is pointed at; the last without it
 */
export function HeadLarge({ rows, columns, values, first, label, start = rows.length - 1 }) {
  const [place, setPlace] = useState(/** @type {[number, number] | null} */ (null));
  const [picked, setPicked] = useState(/** @type {number | null} */ (null));
  const row = Math.min(place?.[0] ?? picked ?? start, rows.length - 1);
  const column = place?.[1] ?? -1;
  /** @param {number} at @param {number} to */
  const valueAt = (at, to) => values[first + at * columns.length + to] ?? 0;
  const rooted = Math.max(rows.length, columns.length) > ROOTED;
  const drawn = useMemo(() => (/** @type {number} */ at, /** @type {number} */ to) =>
    (rooted ? Math.sqrt(valueAt(at, to)) : valueAt(at, to)), [values, first, columns.length]);
  const read = columns.map((text, at) => ({ text, at, value: valueAt(row, at) })).sort((one, two) => two.value - one.value).slice(0, 5);
  const same = rows.length === columns.length;
  return html`<figure class="head-large">
    ${same ? html`<${Tokens} tokens=${columns.map((text) => ({ text }))} selected=${picked ?? row} label="Words, shaded by what one of them reads" legend=${false} boxed=${true}
      onSelect=${(/** @type {number} */ at) => setPicked(at === picked ? null : at)} onHover=${(/** @type {number | null} */ at) => setPlace(at === null ? null : [at, -1])}
      shade=${(/** @type {number} */ at) => ({ className: `read-${Math.min(6, Math.round(valueAt(row, at) * 10))}`, words: `${(valueAt(row, at) * 100).toFixed(1)} %` })} />` : null}
    <p class="figures">${`"${spoken(rows[row] ?? "")}" reads most of: `}${read.map((one, at) => html`<span key=${at}>${at === 0 ? "" : ", "}<q>${spoken(one.text)}</q>\u00a0${(one.value * 100).toFixed(0)}\u00a0%</span>`)}</p>
    <div class="head-drawn"><div>
      <${LabelledMap} rows=${rows} columns=${columns} label=${label} valueAt=${drawn} row=${row} onPlace=${setPlace} />
      <${Scale} rooted=${rooted} />
      <figcaption class="hint">Each row is a token, each column one that it may read.
        ${column >= 0 ? html` <b>${spoken(rows[row] ?? "")}</b> reads <b>${spoken(columns[column] ?? "")}</b>:
          ${(valueAt(row, column) * 100).toFixed(1)} %.` : null}</figcaption></div>
      <${Lines} rows=${rows} columns=${columns} valueAt=${valueAt} row=${row} onRow=${(/** @type {number | null} */ at) => setPlace(at === null ? null : [at, -1])} />
    </div>
  </figure>`;
}

/**
 * The same head as lines from each token to what it reads; those of one row stand out.
 * @param {{rows: string[], columns: string[], valueAt: (row: number, column: number) => number, row: number,
 *   onRow: (row: number | null) => void}} props
 */
function Lines({ rows, columns, valueAt, row, onRow }) {
  if (rows.length > 48 || columns.length > 48) {
    return null;
  }
  const line = 20;
  const height = Math.max(rows.length, columns.length) * line + 8;
  const drawn = rows.flatMap((_, from) => columns.map((__, to) => ({ from, to, value: valueAt(from, to) })).filter((one) => one.value > 0.05));
  return html`<svg class="lines" viewBox=${`0 0 360 ${height}`} role="img" aria-label="The same head as lines" onMouseLeave=${() => onRow(null)}>
    ${drawn.map((one) => html`<line key=${`${one.from}-${one.to}`} x1="120" x2="240" y1=${one.from * line + 13} y2=${one.to * line + 13}
      stroke="currentColor" stroke-width=${one.from === row ? 3 : 1.5} opacity=${one.from === row ? 0.15 + 0.85 * one.value : one.value * 0.5} />`)}
    ${rows.map((text, at) => html`<text key=${`r${at}`} x="114" y=${at * line + 17} text-anchor="end" class=${at === row ? "now" : ""}
      onMouseEnter=${() => onRow(at)}>${brief(text)}</text>`)}
    ${columns.map((text, at) => html`<text key=${`c${at}`} x="246" y=${at * line + 17} class=${valueAt(row, at) >= 0.1 ? "now" : ""}>${brief(text)}</text>`)}
  </svg>`;
}

/** @param {string} text */
function brief(text) {
  const whole = spoken(text);
  return whole.length > 15 ? `${whole.slice(0, 14)}...` : whole;
}

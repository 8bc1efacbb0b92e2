/** One head's attention while it is learned: a small map, and a slider through its past. */
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";
import { Slider } from "./fields.mjs";
import { Scale } from "./maps.mjs";
import { spoken } from "./tokens.mjs";

/**
 * @typedef {object} Head
 * @property {number} layer
 * @property {number} head
 * @property {number} side
 * @property {string} data  base64 of side * side bytes, row by row
 * @property {number} at_step
 * @property {string[]} tokens
 */

const CELL = 8; // pixels of the canvas, which the style scales

/** @param {{heads: Head[]}} props */
export function HeadPicture({ heads }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const [place, setPlace] = useState(/** @type {[number, number] | null} */ (null));
  const number = at === null ? heads.length - 1 : Math.min(at, heads.length - 1);
  const head = heads[number];
  useEffect(() => {
    const draw = () => {
      if (canvas.current !== null && head !== undefined) {
        paint(canvas.current, head);
      }
    };
    draw();
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    addEventListener("headway-appearance", draw);
    return () => {
      scheme.removeEventListener("change", draw);
      removeEventListener("headway-appearance", draw);
    };
  }, [head]);
  if (head === undefined) {
    return null;
  }
  const [row, column] = place ?? [-1, -1];
  const reader = head.tokens[row];
  const read = head.tokens[column];
  return html`<figure class="head-picture">
    <canvas ref=${canvas} role="img" width=${head.side * CELL} height=${head.side * CELL}
      aria-label=${`Attention of head ${head.head} in layer ${head.layer} at step ${head.at_step}: rows read columns`}
      onMouseMove=${(/** @type {MouseEvent} */ event) => {
        const box = /** @type {HTMLCanvasElement} */ (event.target).getBoundingClientRect();
        setPlace([Math.floor(((event.clientY - box.top) / box.height) * head.side), Math.floor(((event.clientX - box.left) / box.width) * head.side)]);
      }}
      onMouseLeave=${() => setPlace(null)}></canvas>
    <${Scale} />
    <figcaption class="hint">Layer ${head.layer}, head ${head.head}, step ${head.at_step}. Each row is a token, each column one
      that it may read.
      ${reader !== undefined && read !== undefined ? html` <b>${spoken(reader)}</b> reads <b>${spoken(read)}</b>.` : null}</figcaption>
    ${heads.length < 2 ? null : html`<${Slider} id="head-step" label="Step" value=${number} least=${0} most=${heads.length - 1} step=${1}
      say=${(/** @type {number} */ index) => String(heads[index]?.at_step ?? "")}
      onChange=${(/** @type {number} */ index) => setAt(index === heads.length - 1 ? null : index)} />`}
  </figure>`;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Head} head
 */
function paint(canvas, head) {
  const context = canvas.getContext("2d");
  if (context === null) {
    return;
  }
  const bytes = Uint8Array.from(atob(head.data), (letter) => letter.charCodeAt(0));
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = getComputedStyle(canvas).color;
  bytes.forEach((value, place) => {
    context.globalAlpha = value / 255;
    context.fillRect((place % head.side) * CELL, Math.floor(place / head.side) * CELL, CELL, CELL);
  });
  context.globalAlpha = 1;
}

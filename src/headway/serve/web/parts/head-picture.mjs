/** One head's attention while it is learned: a small map, and a slider through its past. */
import { html, useMemo, useState } from "../vendor/preact-htm.mjs";
import { Slider } from "./fields.mjs";
import { MapCanvas, Scale, bytesOf } from "./maps.mjs";
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
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const [place, setPlace] = useState(/** @type {[number, number] | null} */ (null));
  const number = at === null ? heads.length - 1 : Math.min(at, heads.length - 1);
  const head = heads[number];
  const valueAt = useMemo(() => {
    const bytes = bytesOf(head?.data ?? "");
    return (/** @type {number} */ row, /** @type {number} */ column) => (bytes[row * (head?.side ?? 0) + column] ?? 0) / 255;
  }, [head]);
  if (head === undefined) {
    return null;
  }
  const [row, column] = place ?? [-1, -1];
  const reader = head.tokens[row];
  const read = head.tokens[column];
  return html`<figure class="head-picture">
    <${MapCanvas} rows=${head.side} columns=${head.side} cell=${CELL} valueAt=${valueAt} onPlace=${setPlace}
      label=${`Attention of head ${head.head} in layer ${head.layer} at step ${head.at_step}: rows read columns`} />
    <${Scale} />
    <figcaption class="hint">Layer ${head.layer}, head ${head.head}, step ${head.at_step}. Each row is a token, each column one
      that it may read.
      ${reader !== undefined && read !== undefined ? html` <b>${spoken(reader)}</b> reads <b>${spoken(read)}</b>.` : null}</figcaption>
    ${heads.length < 2 ? null : html`<${Slider} id="head-step" label="Step" value=${number} least=${0} most=${heads.length - 1} step=${1}
      say=${(/** @type {number} */ index) => String(heads[index]?.at_step ?? "")}
      onChange=${(/** @type {number} */ index) => setAt(index === heads.length - 1 ? null : index)} />`}
  </figure>`;
}

/** The sliders of how the next token is chosen, and the distribution that they leave. */
import { messageOf } from "../api.mjs";
import { html, useEffect, useState } from "../vendor/preact-htm.mjs";
import { Bars } from "./bars.mjs";
import { Slider, Trouble } from "./fields.mjs";
import { choiceFields } from "./writing.mjs";

/**
 * The sliders' settings out of a link.
 * @param {Record<string, string>} state
 * @returns {import("./writing.mjs").Choosing}
 */
export function choosingOf(state) {
  return {
    temperature: number(state["temperature"], 0.8, 0, 2),
    topK: Math.round(number(state["top_k"], 40, 0, 200)),
    topP: number(state["top_p"], 1, 0.05, 1),
    minP: number(state["min_p"], 0, 0, 0.5),
  };
}

/**
 * @param {import("./writing.mjs").Choosing} choosing
 * @returns {Record<string, string>}
 */
export function choosingState({ temperature, topK, topP, minP }) {
  return { temperature: String(temperature), top_k: String(topK), top_p: String(topP), min_p: String(minP) };
}

/**
 * A number out of a link, within its range.
 * @param {string | undefined} text
 * @param {number} otherwise
 * @param {number} least
 * @param {number} most
 * @returns {number}
 */
export function number(text, otherwise, least, most) {
  const value = text === undefined || text === "" ? NaN : Number(text);
  return Number.isFinite(value) ? Math.max(least, Math.min(most, value)) : otherwise;
}

/**
 * @param {object} props
 * @param {import("./writing.mjs").Choosing} props.choosing
 * @param {(choosing: import("./writing.mjs").Choosing) => void} props.onChange
 */
export function Sliders({ choosing, onChange }) {
  const { temperature, topK, topP, minP } = choosing;
  return html`<div class="sliders" role="group" aria-label="How the next token is chosen">
    <${Slider} id="temperature" label="Temperature" value=${temperature} least=${0} most=${2} step=${0.05}
      say=${(/** @type {number} */ value) => (value === 0 ? "0: always the likeliest" : value.toFixed(2))}
      onChange=${(/** @type {number} */ value) => onChange({ ...choosing, temperature: value })} />
    <${Slider} id="top-k" label="Top-k" value=${topK} least=${0} most=${200} step=${1}
      say=${(/** @type {number} */ value) => (value === 0 ? "off" : `best ${value}`)}
      onChange=${(/** @type {number} */ value) => onChange({ ...choosing, topK: value })} />
    <${Slider} id="top-p" label="Top-p" value=${topP} least=${0.05} most=${1} step=${0.05}
      say=${(/** @type {number} */ value) => (value >= 1 ? "off" : value.toFixed(2))}
      onChange=${(/** @type {number} */ value) => onChange({ ...choosing, topP: value })} />
    <${Slider} id="min-p" label="Min-p" value=${minP} least=${0} most=${0.5} step=${0.01}
      say=${(/** @type {number} */ value) => (value === 0 ? "off" : value.toFixed(2))}
      onChange=${(/** @type {number} */ value) => onChange({ ...choosing, minP: value })} />
  </div>`;
}

/**
 * What may come next after a row of ids, or after a text where there are none; drawn again as the sliders move.
 * @param {object} props
 * @param {import("../api.mjs").Api} props.api
 * @param {string} props.model
 * @param {number[] | null} props.ids
 * @param {string} props.text
 * @param {import("./writing.mjs").Choosing} props.choosing
 * @param {boolean} props.paused  while a text is being written
 * @param {number | null} props.chosen
 * @param {(candidate: import("../types.mjs").Candidate) => void} [props.onPick]
 */
export function Distribution({ api, model, ids, text, choosing, paused, chosen, onPick }) {
  const [answer, setAnswer] = useState(/** @type {import("../types.mjs").NextAnswer | null} */ (null));
  const [trouble, setTrouble] = useState("");
  const before = ids === null || ids.length === 0 ? { text } : { ids };
  const asked = JSON.stringify({ model, ...before, ...choiceFields(choosing), top: 20 });
  useEffect(() => {
    if (paused) {
      return undefined;
    }
    const own = new AbortController();
    const timer = setTimeout(() => {
      api.post("/v1/next", JSON.parse(asked), { signal: own.signal }).then(
        (found) => {
          setAnswer(found);
          setTrouble("");
        },
        (error) => setTrouble(messageOf(error)),
      );
    }, 120);
    return () => {
      clearTimeout(timer);
      own.abort();
    };
  }, [asked, paused]);
  return html`<div class=${paused ? "distribution paused" : "distribution"}>
    <${Trouble} message=${trouble} />
    ${answer === null ? html`<p class="waiting">Asking the model what may come next.</p>`
      : html`<${Bars} candidates=${answer.candidates} rest=${answer.rest} onPick=${onPick} paused=${paused} chosen=${chosen} />`}
    ${answer?.windowed ? html`<p class="hint">The text is longer than the model's context; only its end was read.</p>` : null}
  </div>`;
}

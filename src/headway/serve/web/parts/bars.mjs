/** A distribution as bars: what the model itself expects, and what the settings keep of it. */
import { html } from "../vendor/preact-htm.mjs";
import { doing } from "./fields.mjs";
import { shown, spoken } from "./tokens.mjs";

/**
 * A probability in per cent, with as many digits as tell something.
 * @param {number} probability
 * @returns {string}
 */
export function percent(probability) {
  const value = probability * 100;
  if (value === 0) {
    return "0 %";
  }
  if (value < 0.01) {
    return "< 0.01 %";
  }
  return `${value.toFixed(value < 0.995 ? 2 : 1)} %`;
}

/**
 * @param {object} props
 * @param {import("../types.mjs").Candidate[]} props.candidates
 * @param {import("../types.mjs").Rest | null} [props.rest]
 * @param {(candidate: import("../types.mjs").Candidate, at: number) => void} [props.onPick]
 * @param {boolean} [props.paused]  nothing can be picked for now
 * @param {string} [props.label]
 * @param {number | null} [props.chosen]  the id that stands in the text
 */
export function Bars({ candidates, rest = null, onPick, paused = false, label = "What may come next", chosen = null }) {
  const kept = candidates.some((candidate) => candidate.kept_probability !== undefined);
  // Thousands of others together are often far more than any one; drawn to their scale, nothing else could be compared.
  const most = Math.max(1e-9, ...candidates.map((candidate) => Math.max(candidate.probability, candidate.kept_probability ?? 0)));
  return html`<div class="bars-box">
    ${kept ? html`<p class="legend"><span><span class="bar-sample own"></span> the model's own</span>
      <span><span class="bar-sample kept"></span> what the settings draw from, and the figure</span></p>` : null}
    <ol class="bars" aria-label=${label}>
      ${candidates.map((candidate, at) => html`<li key=${at}>
        ${line(shown(candidate.text), spoken(candidate.text), candidate, most,
          onPick === undefined ? undefined : doing(paused, () => onPick(candidate, at)), candidate.id === chosen && chosen !== null)}
      </li>`)}
      ${rest === null ? null : html`<li key="rest" class="bar-rest">
        ${line(`${rest.count.toLocaleString("en")} others`, `${rest.count} others together`, rest, most, undefined, false)}
      </li>`}
    </ol>
  </div>`;
}

/**
 * A text with the blanks at its start and end marked.
 * @param {string} text
 */
function marked(text) {
  return text.split(/(^ +| +$)/).map((part) => (/^ +$/.test(part) ? html`<span class="blank">${part}</span>` : part));
}

/**
 * A bar; one that would be longer than its place is as long as that, and broken.
 * @param {string} name
 * @param {number} share  of its place
 */
function drawn(name, share) {
  return html`<span class=${share > 1 ? `${name} broken` : name} style=${{ width: `${100 * Math.min(1, share)}%` }}></span>`;
}

/**
 * @param {string} text
 * @param {string} name
 * @param {{probability: number, kept_probability?: number}} figures
 * @param {number} most
 * @param {ReturnType<typeof doing> | undefined} pick
 * @param {boolean} chosen
 */
function line(text, name, { probability, kept_probability: kept }, most, pick, chosen) {
  // What is said begins with what is seen, so that it can be called by it.
  const spokenFigures = `${percent(kept ?? probability)}${kept === undefined ? "" : `, the model's own ${percent(probability)}`}`;
  const inside = html`<span class="bar-text">${marked(text)}</span>
    <span class="bar-track" aria-hidden="true">
      ${drawn(kept === undefined ? "bar-own alone" : "bar-own", probability / most)}
      ${kept === undefined ? null : drawn("bar-kept", kept / most)}
    </span>
    ${" "}<span class="bar-number">${percent(kept ?? probability)}</span>`;
  const classes = `bar${kept === 0 ? " out" : ""}${chosen ? " chosen" : ""}`;
  if (pick === undefined) {
    return html`<span class=${classes}>${inside}</span>`;
  }
  return html`<button type="button" class=${classes} ...${pick}
    aria-label=${`${name} ${spokenFigures}${chosen ? ", stands in the text" : ""}`}>${inside}</button>`;
}

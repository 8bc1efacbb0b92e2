/** Labelled fields. */
import { html } from "../vendor/preact-htm.mjs";

let numbers = 0;

/**
 * What makes a button do something, or nothing for now. One that was disabled in the midst of its own work would lose
 * the focus, and a keyboard its place on the page.
 * @param {boolean} waits
 * @param {(() => void)} [act]  none for a button that sends its form
 */
export function doing(waits, act) {
  return {
    "aria-disabled": waits ? "true" : undefined,
    onClick: waits ? (/** @type {Event} */ event) => event.preventDefault() : act,
  };
}

/**
 * An id that no other field has.
 * @returns {string}
 */
export function newId() {
  numbers += 1;
  return `field-${numbers}`;
}

/**
 * @param {object} props
 * @param {string} props.id
 * @param {string} props.label
 * @param {number} props.value
 * @param {number} props.least
 * @param {number} props.most
 * @param {number} props.step
 * @param {(value: number) => void} props.onChange
 * @param {(value: number) => string} [props.say]  the value in words
 */
export function Slider({ id, label, value, least, most, step, onChange, say = String }) {
  return html`<div class="slider">
    <label for=${id}>${label}</label>
    <output for=${id}>${say(value)}</output>
    <input id=${id} type="range" min=${least} max=${most} step=${step} value=${value} aria-valuetext=${say(value)}
      onInput=${(/** @type {Event} */ event) => onChange(Number(/** @type {HTMLInputElement} */ (event.target).value))} />
  </div>`;
}

/**
 * @param {object} props
 * @param {string} props.id
 * @param {string} props.label
 * @param {string} props.value
 * @param {Array<string | {value: string, label: string}>} props.options
 * @param {(value: string) => void} props.onChange
 */
export function Select({ id, label, value, options, onChange }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <select id=${id} value=${value}
      onChange=${(/** @type {Event} */ event) => onChange(/** @type {HTMLSelectElement} */ (event.target).value)}>
      ${options.map((option) => {
        const { value: own, label: text } = typeof option === "string" ? { value: option, label: option } : option;
        return html`<option key=${own} value=${own} selected=${own === value}>${text}</option>`;
      })}
    </select>
  </div>`;
}

/**
 * @param {object} props
 * @param {string} props.id
 * @param {string} props.label
 * @param {number} props.value
 * @param {number} props.least
 * @param {number} props.most
 * @param {(value: number) => void} props.onChange
 */
export function NumberField({ id, label, value, least, most, onChange }) {
  return html`<div class="field narrow">
    <label for=${id}>${label}</label>
    <input id=${id} type="number" inputmode="numeric" min=${least} max=${most} value=${value}
      onChange=${(/** @type {Event} */ event) => {
        const typed = Math.round(Number(/** @type {HTMLInputElement} */ (event.target).value));
        onChange(Number.isFinite(typed) ? Math.max(least, Math.min(most, typed)) : value);
      }} />
  </div>`;
}

/**
 * @param {object} props
 * @param {string} props.id
 * @param {string} props.label
 * @param {string} props.value
 * @param {number} [props.rows]
 * @param {string} [props.hint]
 * @param {(value: string) => void} props.onChange
 * @param {() => void} [props.onSubmit]  Ctrl+Enter
 */
export function TextArea({ id, label, value, rows = 3, hint, onChange, onSubmit }) {
  return html`<div class="field wide">
    <label for=${id}>${label}</label>
    <textarea id=${id} rows=${rows} value=${value} spellcheck=${false}
      aria-describedby=${hint === undefined ? undefined : `${id}-hint`}
      onInput=${(/** @type {Event} */ event) => onChange(/** @type {HTMLTextAreaElement} */ (event.target).value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && onSubmit !== undefined) {
          event.preventDefault();
          onSubmit();
        }
      }}></textarea>
    ${hint === undefined ? null : html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

/**
 * What went wrong, beside what caused it; nothing where nothing did.
 * @param {{message: string}} props
 */
export function Trouble({ message }) {
  return html`<div role="alert" class="trouble-place">${message === "" ? null : html`<p class="trouble">${message}</p>`}</div>`;
}

/**
 * The models that do something, or a word that none does.
 * @param {import("../types.mjs").Model[]} models
 * @param {string} verb
 * @returns {string[]}
 */
export function namesFor(models, verb) {
  return models.filter((model) => model.headway.verbs.includes(verb)).map((model) => model.id);
}

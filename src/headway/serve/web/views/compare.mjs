/** Compare: two models on one prompt and one seed, side by side. */
import { messageOf } from "../api.mjs";
import { Sliders, choosingOf, choosingState, number } from "../parts/choosing.mjs";
import { NumberField, Select, TextArea, Trouble, doing, namesFor } from "../parts/fields.mjs";
import { Legend, Tokens } from "../parts/tokens.mjs";
import { Clock, meanSurprise, speedInWords, written } from "../parts/writing.mjs";
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";

export const title = "Compare";

const PROMPT = "The king looked at his people and said,";

/**
 * @typedef {object} Side
 * @property {import("../types.mjs").TokenShown[]} tokens
 * @property {import("../parts/writing.mjs").Speed | null} speed
 * @property {string} trouble
 */
/** @type {Side} */
const EMPTY = { tokens: [], speed: null, trouble: "" };

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = namesFor(models, "write");
  const [pair, setPair] = useState(() => [known(state["left"], names, 0), known(state["right"], names, 1)]);
  const [prompt, setPrompt] = useState(state["prompt"] ?? PROMPT);
  const [seed, setSeed] = useState(number(state["seed"], 1, 0, 2 ** 31));
  const [most, setMost] = useState(number(state["length"], 60, 1, 1000));
  const [choosing, setChoosing] = useState(choosingOf(state));
  const [sides, setSides] = useState([EMPTY, EMPTY]);
  const [busy, setBusy] = useState(false);
  const running = useRef(/** @type {AbortController | null} */ (null));

  useEffect(() => {
    const timer = setTimeout(() => {
      setState({ left: pair[0] ?? "", right: pair[1] ?? "", prompt: prompt.slice(0, 1500), seed: String(seed),
        length: String(most), ...choosingState(choosing) });
    }, 300);
    return () => clearTimeout(timer);
  }, [pair, prompt, seed, most, choosing]);
  useEffect(() => () => running.current?.abort(), []);

  if (names.length === 0) {
    return html`<p class="trouble">No model served can write. Start the server with two writers to compare them.</p>`;
  }
  /**
   * @param {number} at
   * @param {(side: Side) => Side} change
   */
  function put(at, change) {
    setSides((before) => before.map((side, index) => (index === at ? change(side) : side)));
  }
  /**
   * @param {number} at
   * @param {AbortSignal} signal
   */
  async function one(at, signal) {
    const clock = new Clock();
    try {
      const order = { model: pair[at] ?? "", prompt, most, seed, choosing, echo: prompt !== "" };
      for await (const piece of written(api, order, signal)) {
        clock.tick(piece.tokens.length);
        put(at, (side) => ({ ...side, tokens: [...side.tokens, ...piece.prompt, ...piece.tokens], speed: clock.speed() }));
      }
    } catch (error) {
      put(at, (side) => ({ ...side, trouble: messageOf(error) }));
    }
  }
  async function start() {
    running.current?.abort();
    const own = new AbortController();
    running.current = own;
    setSides([EMPTY, EMPTY]);
    setBusy(true);
    await Promise.all([one(0, own.signal), one(1, own.signal)]);
    if (running.current === own) {
      setBusy(false);
    }
  }
  return html`
    <${TextArea} id="prompt" label="Both begin with" value=${prompt} onChange=${setPrompt} onSubmit=${start} rows=${2} />
    <div class="row">
      <${NumberField} id="length" label="Tokens" value=${most} least=${1} most=${1000} onChange=${setMost} />
      <${NumberField} id="seed" label="Seed" value=${seed} least=${0} most=${2 ** 31} onChange=${setSeed} />
    </div>
    <${Sliders} choosing=${choosing} onChange=${setChoosing} />
    <div class="row actions" data-export="no">
      <button type="button" class="main" ...${doing(busy, start)}>Write with both</button>
      <button type="button" ...${doing(!busy, () => running.current?.abort())}>Stop</button>
    </div>
    ${names.length === 1 ? html`<p class="hint">Only one writer is served, so that both sides are the same model.</p>` : null}
    <p class="unseen" role="status">${busy ? "" : sides.map((side, at) => heard(pair[at] ?? "", side)).join(" ")}</p>
    <div class="two-columns even">${sides.map((side, at) => html`<section key=${at} aria-label=${at === 0 ? "Left" : "Right"}>
      <${Select} id=${`model-${at}`} label=${at === 0 ? "Left model" : "Right model"} value=${pair[at]} options=${names}
        onChange=${(/** @type {string} */ name) => setPair(pair.map((old, index) => (index === at ? name : old)))} />
      <${Trouble} message=${side.trouble} />
      ${side.tokens.length === 0 ? html`<p class="empty">Nothing written yet.</p>`
        : html`<div class="written"><${Tokens} tokens=${side.tokens} label=${`Written by ${pair[at]}`} legend=${false} busy=${busy} /></div>`}
      <${Figures} side=${side} />
    </section>`)}</div>
    ${sides.some((side) => side.tokens.length > 0) ? html`<${Legend} given />
      <p class="hint">Surprise counts in tokens, and the models may cut texts differently; bits a character can be compared.</p>` : null}`;
}

/**
 * A side that has come to its end, for those who do not see it.
 * @param {string} name
 * @param {Side} side
 */
function heard(name, side) {
  return side.tokens.length === 0 ? "" : `${name} wrote: ${side.tokens.map((token) => token.text).join("")}`;
}

/** @param {{side: Side}} props */
function Figures({ side }) {
  if (side.tokens.length === 0) {
    return null;
  }
  const given = side.tokens.filter((token) => token.given);
  const rows = [
    ["The prompt", perCharacter(given)],
    ["Its own words", perCharacter(side.tokens.filter((token) => !token.given))],
    ["Speed", speedInWords(side.speed)],
  ];
  return html`<dl class="facts">${rows.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** @param {import("../types.mjs").TokenShown[]} tokens */
function perCharacter(tokens) {
  const scored = tokens.filter((token) => typeof token.surprise === "number");
  const mean = meanSurprise(scored);
  const characters = scored.reduce((sum, token) => sum + [...token.text].length, 0);
  if (mean === null || characters === 0) {
    return "not scored";
  }
  return `${((mean * scored.length) / characters).toFixed(2)} bits a character, ${mean.toFixed(2)} bits a token`;
}

/**
 * @param {string | undefined} name
 * @param {string[]} names
 * @param {number} at
 */
function known(name, names, at) {
  return name !== undefined && names.includes(name) ? name : (names[at] ?? names[0] ?? "");
}

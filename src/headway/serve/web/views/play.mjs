/** Play: guess the next word of a text against a model; who needs fewer bits a word wins. */
import { messageOf } from "../api.mjs";
import { Curve } from "../parts/curve.mjs";
import { Select, Slider, TextArea, Trouble, doing, namesFor } from "../parts/fields.mjs";
import { bitsOf } from "../parts/writing.mjs";
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";
import { PASSAGES } from "./passages.mjs";

export const title = "Play";

const SHOWN = 5; // words that are given away at the start
const WORDS = 10_000; // the room's other words, over which it spreads what it is not sure of

/**
 * @typedef {object} Turn
 * @property {string} word
 * @property {string} guess
 * @property {string} machine  the model's guess
 * @property {number} room  bits
 * @property {number} model  bits
 */

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = namesFor(models, "write");
  const [model, setModel] = useState(names.includes(state["model"] ?? "") ? String(state["model"]) : (names[0] ?? ""));
  const [passage, setPassage] = useState(state["passage"] ?? "0");
  const [own, setOwn] = useState("");
  const [bits, setBits] = useState(/** @type {number[] | null} */ (null));
  const [turns, setTurns] = useState(/** @type {Turn[]} */ ([]));
  const [guess, setGuess] = useState("");
  const [sure, setSure] = useState(30);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const again = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const text = passage === "own" ? own : (PASSAGES[Number(passage)]?.text ?? "");
  const words = text.match(/\S+/g) ?? [];

  useEffect(() => setState({ model, passage }), [model, passage]);
  useEffect(() => {
    setBits(null);
    setTurns([]);
    setTrouble("");
  }, [model, passage, own]);

  if (names.length === 0) {
    return html`<p class="trouble">No model served can write. Start the server with a writer to play against it.</p>`;
  }
  const at = SHOWN + turns.length;
  const over = bits !== null && at >= words.length;

  async function start() {
    if (words.length < SHOWN + 3) {
      setTrouble(`The text needs at least ${SHOWN + 3} words.`);
      return;
    }
    await guarded(async () => {
      const answer = await api.post("/v1/completions", { model, prompt: words.join(" "), max_tokens: 0, echo: true, logprobs: 0 });
      setTurns([]);
      setBits(bitsOfWords(words, answer.choices[0].logprobs));
    });
    field.current?.focus();
  }
  async function reveal() {
    const word = words[at];
    const model_bits = bits?.[at];
    if (word === undefined || model_bits === undefined || busy) {
      return;
    }
    await guarded(async () => {
      const machine = await likeliestWord(api, model, words.slice(0, at).join(" "));
      setTurns([...turns, { word, guess: guess.trim(), machine, room: roomBits(guess, word, sure / 100), model: model_bits }]);
      setGuess("");
    });
    (field.current ?? again.current)?.focus();
  }
  /** @param {() => Promise<void>} work */
  async function guarded(work) {
    setBusy(true);
    setTrouble("");
    try {
      await work();
    } catch (error) {
      setTrouble(messageOf(error));
    }
    setBusy(false);
  }
  const latest = turns[turns.length - 1];
  return html`
    <p class="hint">The text stands here word by word. Say what comes next, and how sure you are. A right guess costs few
      bits, a wrong one many; the model pays for the probability that it gave to the right word.</p>
    <div class="row">
      <${Select} id="model" label="Against" value=${model} options=${names} onChange=${setModel} />
      <${Select} id="passage" label="Text" value=${passage} onChange=${setPassage}
        options=${[...PASSAGES.map((one, index) => ({ value: String(index), label: one.name })), { value: "own", label: "Your own" }]} />
      <button type="button" ref=${again} class=${bits === null ? "main" : ""} ...${doing(busy, start)}>${bits === null ? "Start" : "From the start"}</button>
    </div>
    ${passage === "own" && bits === null ? html`<${TextArea} id="own" label="Your text" value=${own} onChange=${setOwn} rows=${4}
      hint="A text that the model has not seen makes the fairest game." />` : null}
    <${Trouble} message=${trouble} />
    ${bits === null ? html`<p class="empty">The first ${SHOWN} words are given away; then the room and the model guess one word after another.</p>` : html`<div class="two-columns">
      <section aria-label="The game">
      <p class="passage" data-testid="passage">${words.slice(0, SHOWN).join(" ")} ${turns.map((turn, index) => html`<span key=${index}
        class=${same(turn.guess, turn.word) ? "found" : ""}>${turn.word}</span> `)}${over ? null : html`<span class="gap">?</span>`}</p>
      ${over ? null : html`<form class="row guess" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); reveal(); }}>
        <div class="field"><label for="guess">The next word</label>
          <input id="guess" ref=${field} value=${guess} autocomplete="off" autocapitalize="off" spellcheck=${false}
            onInput=${(/** @type {Event} */ event) => setGuess(/** @type {HTMLInputElement} */ (event.target).value)} /></div>
        <${Slider} id="sure" label="How sure" value=${sure} least=${5} most=${95} step=${5}
          say=${(/** @type {number} */ value) => `${value} %`} onChange=${setSure} />
        <button type="submit" class="main" ...${doing(busy)}>Show the word</button>
      </form>`}
      <p role="status" class="figures">${latest === undefined ? "" : said(latest)}</p>
      <${Turns} turns=${turns} />
      </section>
      <section aria-label="The score"><${Score} turns=${turns} over=${over} /></section></div>`}
    <p class="hint">How the room pays: a right guess costs the logarithm of how sure it was; else what it was not sure of is
      spread evenly over ${WORDS.toLocaleString("en")} other words. The old books may have been among what the model learned.</p>`;
}

/** @param {{turns: Turn[], over: boolean}} props */
function Score({ turns, over }) {
  if (turns.length === 0) {
    return null;
  }
  const room = mean(turns.map((turn) => turn.room));
  const model = mean(turns.map((turn) => turn.model));
  const most = Math.max(room, model);
  const right = turns.filter((turn) => same(turn.guess, turn.word)).length;
  const machine = turns.filter((turn) => same(turn.machine, turn.word)).length;
  /** @type {Array<[string, number, number]>} */
  const rows = [["The room", room, right], ["The model", model, machine]];
  return html`<h2>${over ? (room < model ? "The room wins" : "The model wins") : "Bits a word so far"}</h2>
    <dl class="score">${rows.map(([name, bits, found]) => html`<div key=${name} class="bar">
      <dt class="bar-text">${name}</dt>
      <dd class="bar-track" aria-hidden="true"><span class=${`bar-kept line-${name === "The room" ? 0 : 1}`} style=${{ width: `${(100 * bits) / most}%` }}></span></dd>
      <dd class="bar-number">${bits.toFixed(2)} bits, ${found} of ${turns.length} right</dd></div>`)}</dl>
    ${turns.length < 2 ? html`<p class="empty">The curve begins after two words.</p>` : html`<${Curve} x="words guessed" y="bits a word so far" label="Running bits a word"
      series=${[{ name: "the room", points: running(turns.map((turn) => turn.room)) }, { name: "the model", points: running(turns.map((turn) => turn.model)) }]} />`}`;
}

/**
 * The mean of the first one, two, three... values.
 * @param {number[]} values
 * @returns {Array<[number, number]>}
 */
function running(values) {
  let sum = 0;
  return values.map((value, at) => [at + 1, (sum += value) / (at + 1)]);
}

/** @param {{turns: Turn[]}} props */
function Turns({ turns }) {
  if (turns.length === 0) {
    return null;
  }
  return html`<div class="scrolls" tabindex="0" role="region" aria-label="All turns"><table class="turns">
      <thead><tr><th scope="col">Word</th><th scope="col">Room</th><th scope="col">Model</th>
        <th scope="col" class="number">Room, bits</th><th scope="col" class="number">Model, bits</th></tr></thead>
      <tbody>${[...turns].reverse().map((turn, index) => html`<tr key=${turns.length - index}><td>${turn.word}</td>
        <td>${turn.guess === "" ? "-" : judged(turn.guess, turn.word)}</td><td>${judged(turn.machine, turn.word)}</td><td class="number">${turn.room.toFixed(1)}</td>
        <td class="number">${turn.model.toFixed(1)}</td></tr>`)}</tbody></table></div>`;
}

/**
 * A guess, marked where it was right.
 * @param {string} guess
 * @param {string} word
 */
function judged(guess, word) {
  return same(guess, word) ? html`<span class="found">${guess}</span>` : guess;
}

/** @param {Turn} turn */
function said(turn) {
  const own = same(turn.guess, turn.word) ? "the room found it" : "the room did not find it";
  return `It was "${turn.word}"; ${own}, the model guessed "${turn.machine}": ${turn.room.toFixed(1)} bits for the room, ${turn.model.toFixed(1)} for the model.`;
}

/**
 * @param {string} guess
 * @param {string} word
 * @param {number} sure
 */
function roomBits(guess, word, sure) {
  if (guess.trim() === "") {
    return Math.log2(WORDS);
  }
  return -Math.log2(same(guess, word) ? sure : (1 - sure) / WORDS);
}

/**
 * Whether two words are one but for case and punctuation.
 * @param {string} one
 * @param {string} other
 */
function same(one, other) {
  /** @param {string} word */
  const bare = (word) => word.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
  return bare(one) !== "" && bare(one) === bare(other);
}

/**
 * The word that the model would write next; what would only lengthen the last word is passed over.
 * @param {import("../api.mjs").Api} api
 * @param {string} model
 * @param {string} before
 * @returns {Promise<string>}
 */
async function likeliestWord(api, model, before) {
  /** @type {import("../types.mjs").NextAnswer} */
  const { candidates } = await api.post("/v1/next", { model, text: before, top: 50 });
  const first = candidates.find((candidate) => /^\s+\S/.test(candidate.text))?.text ?? " ";
  const answer = await api.post("/v1/completions", { model, prompt: before + first, max_tokens: 5, temperature: 0 });
  return (first + answer.choices[0].text).trim().split(/\s+/)[0] ?? "";
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Each word's bits: the sum of its tokens'. A token belongs to the word in which it ends.
 * @param {string[]} words
 * @param {{tokens: string[], token_logprobs: Array<number | null>}} scores
 */
function bitsOfWords(words, { tokens, token_logprobs: logprobs }) {
  /** @type {number[]} */
  const ends = [];
  let length = -1;
  for (const word of words) {
    length += 1 + [...word].length;
    ends.push(length);
  }
  const bits = words.map(() => 0);
  let place = 0;
  let word = 0;
  tokens.forEach((token, at) => {
    place += [...token].length;
    while (word < words.length - 1 && place > (ends[word] ?? 0)) {
      word += 1;
    }
    bits[word] = (bits[word] ?? 0) + (bitsOf(logprobs[at]) ?? 0);
  });
  return bits;
}

/** Write: a model goes on with a text; every token shows its surprise and its alternatives, and can be branched at. */
import { useBranches } from "../parts/branches.mjs";
import { Distribution, Sliders, choosingOf, choosingState, number } from "../parts/choosing.mjs";
import { NumberField, Select, TextArea, Trouble, doing, namesFor } from "../parts/fields.mjs";
import { Tokens, shown, spoken } from "../parts/tokens.mjs";
import { meanSurprise, speedInWords } from "../parts/writing.mjs";
import { html, useEffect, useState } from "../vendor/preact-htm.mjs";

export const title = "Write";

const PROMPT = "It was a dark night, and the old man";

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = namesFor(models, "write");
  const [model, setModel] = useState(names.includes(state["model"] ?? "") ? String(state["model"]) : (names[0] ?? ""));
  const [prompt, setPrompt] = useState(state["prompt"] ?? PROMPT);
  const [seed, setSeed] = useState(number(state["seed"], 1, 0, 2 ** 31));
  const [most, setMost] = useState(number(state["length"], 60, 1, 1000));
  const [choosing, setChoosing] = useState(choosingOf(state));
  const [selected, setSelected] = useState(/** @type {number | null} */ (null));
  const writing = useBranches(api);
  const branch = writing.tree.branches.find((one) => one.number === writing.tree.current);
  const tokens = branch?.tokens ?? [];

  useEffect(() => {
    const timer = setTimeout(() => {
      setState({ model, prompt: prompt.slice(0, 1500), seed: String(seed), length: String(most), ...choosingState(choosing) });
    }, 300);
    return () => clearTimeout(timer);
  }, [model, prompt, seed, most, choosing]);
  useEffect(() => writing.stop, []);

  if (names.length === 0) {
    return html`<p class="trouble">No model served can write. Start the server with a writer, such as the bundled one.</p>`;
  }
  /** @param {number} drawn */
  const order = (drawn) => ({ model, prompt, most, seed: drawn, choosing });
  /** @param {number} drawn */
  function begin(drawn) {
    setSelected(null);
    setSeed(drawn);
    writing.begin(order(drawn));
  }
  /** @param {string} other  its ids mean other tokens, so that a new text begins */
  function change(other) {
    setModel(other);
    setSelected(null);
    writing.reset();
  }
  /** @param {import("../types.mjs").Candidate} candidate */
  function pick(candidate) {
    const token = { id: candidate.id, text: candidate.text, surprise: -Math.log2(Math.max(candidate.probability, 1e-30)) };
    if (selected === null) {
      writing.append(token);
    } else {
      setSelected(null);
      writing.branch(selected, token, order(seed));
    }
  }
  const ids = branch === undefined ? null : idsOf(tokens.slice(0, selected ?? tokens.length));
  const at = selected === null ? undefined : tokens[selected];
  /** @param {number} index */
  function pickToken(index) {
    setSelected(index === selected ? null : index);
    // On a narrow screen the alternatives stand below the text.
    if (index !== selected && matchMedia("(max-width: 56rem)").matches) {
      requestAnimationFrame(() => document.getElementById("alternatives")?.scrollIntoView());
    }
  }
  /** Back from a token to the end, with the focus on that token: the button that led here goes away. */
  function toEnd() {
    const token = document.querySelector(".written [aria-pressed='true']");
    if (token instanceof HTMLElement) {
      token.focus();
    }
    setSelected(null);
  }
  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.key === "Escape" && selected !== null) {
      setSelected(null);
    }
  }
  return html`<div class="two-columns" onKeyDown=${onKey}>
    <section aria-label="Text">
      <${TextArea} id="prompt" label="Begin with" value=${prompt} onChange=${setPrompt} onSubmit=${() => begin(seed)}
        hint="Ctrl and Enter writes." />
      <div class="row">
        <${Select} id="model" label="Model" value=${model} options=${names} onChange=${change} />
        <${NumberField} id="length" label="Tokens" value=${most} least=${1} most=${1000} onChange=${setMost} />
        <${NumberField} id="seed" label="Seed" value=${seed} least=${0} most=${2 ** 31} onChange=${setSeed} />
      </div>
      <div class="row actions" data-export="no">
        <button type="button" class="main" ...${doing(writing.busy, () => begin(seed))}>Write</button>
        <button type="button" ...${doing(writing.busy, () => begin(seed + 1))}>Another</button>
        <button type="button"
          ...${doing(writing.busy || branch === undefined, () => { setSelected(null); writing.goOn(order(seed)); })}>Go on</button>
        <button type="button" ...${doing(!writing.busy, writing.stop)}>Stop</button>
      </div>
      <${Trouble} message=${writing.trouble} />
      <h2 class="unseen">What was written</h2>
      ${tokens.length === 0 ? html`<p class="empty">The text will stand here. Click a token for what else the model
          thought of, and go on from there instead.</p>`
        : html`<div class="written"><${Tokens} tokens=${tokens} selected=${selected} label="Written text" busy=${writing.busy}
            onSelect=${pickToken} /></div>`}
      <p class="figures" data-testid="speed">${speedInWords(writing.speed)}${surpriseInWords(tokens)}</p>
      <p class="unseen" aria-live="polite">${writing.busy || writing.ended === "" ? "" : `${writing.ended} ${textOf(tokens)}`}</p>
      <${TreeOf} tree=${writing.tree} onChoose=${(/** @type {number} */ one) => { setSelected(null); writing.choose(one); }} />
    </section>
    <section aria-label="Alternatives" id="alternatives">
      <h2 aria-live="polite">${at === undefined ? "What may come next" : html`In place of <q>${shown(at.text).replaceAll("\n", "")}</q>`}</h2>
      <p class="hint">${at === undefined ? "Pick one to add it to the text."
        : html`Pick one to branch there. <button type="button" class="plain" onClick=${toEnd}>Back to the end</button>`}</p>
      <${Sliders} choosing=${choosing} onChange=${setChoosing} />
      <${Distribution} api=${api} model=${model} ids=${ids} text=${ids === null ? prompt : ""} choosing=${choosing}
        paused=${writing.busy} chosen=${at?.id ?? null} onPick=${branch === undefined ? undefined : pick} />
    </section>
  </div>`;
}

/** @param {{tree: import("../parts/branches.mjs").Tree, onChoose: (number: number) => void}} props */
function TreeOf({ tree, onChoose }) {
  if (tree.branches.length < 2) {
    return null;
  }
  /**
   * @param {number | null} parent
   * @returns {import("../vendor/preact-htm.mjs").Child}
   */
  const list = (parent) => {
    const own = tree.branches.filter((one) => one.parent === parent);
    return own.length === 0 ? null : html`<ul class="tree">${own.map((one) => html`<li key=${one.number}>
      <button type="button" class="branch" aria-pressed=${one.number === tree.current ? "true" : "false"}
        onClick=${() => onChoose(one.number)}>${nameOf(one)}</button>${list(one.number)}</li>`)}</ul>`;
  };
  return html`<div><h2>Branches</h2>${list(null)}</div>`;
}

/** @param {import("../parts/branches.mjs").Branch} branch */
function nameOf(branch) {
  const written = branch.tokens.slice(branch.at).filter((token) => !token.given);
  const own = textOf(written);
  const start = own.trim().slice(0, 60) || spoken(own);
  const mean = meanSurprise(written);
  const where = branch.parent === null ? "" : `token ${branch.at + 1}: `;
  return html`<span class="branch-text">${where}${start}${own.length > 60 ? "..." : ""}</span>
    ${mean === null ? null : html`<span class="branch-mean">${` ${mean.toFixed(1)} bits a token`}</span>`}`;
}

/** @param {import("../types.mjs").TokenShown[]} tokens */
function surpriseInWords(tokens) {
  const mean = meanSurprise(tokens.filter((token) => !token.given));
  return mean === null ? "" : `. Mean surprise: ${mean.toFixed(2)} bits a token.`;
}

/** @param {import("../types.mjs").TokenShown[]} tokens */
function textOf(tokens) {
  return tokens.map((token) => token.text).join("");
}

/** @param {import("../types.mjs").TokenShown[]} tokens */
function idsOf(tokens) {
  return tokens.flatMap((token) => (token.id === undefined ? [] : [token.id]));
}

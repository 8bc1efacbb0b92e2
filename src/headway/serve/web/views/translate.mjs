/** Translate: a fixed vector, Bahdanau's attention and a Transformer side by side on one sentence. */
import { messageOf } from "../api.mjs";
import { Curve } from "../parts/curve.mjs";
import { TextArea, Trouble, namesFor } from "../parts/fields.mjs";
import { MapCanvas } from "../parts/maps.mjs";
import { html, useEffect, useState } from "../vendor/preact-htm.mjs";

export const title = "Translate";
const SENTENCE = "The man who lives in the big house is my brother.";
const KIND = /** @type {Record<string, string>} */ ({ transformer: "Transformer, attention alone", rnnsearch: "recurrent" });

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = namesFor(models, "translate");
  const text = state.text ?? SENTENCE;
  const [answers, setAnswers] = useState(/** @type {Record<string, any>} */ ({}));
  const [busy, setBusy] = useState(false);

  function translate() {
    setBusy(true);
    setAnswers({});
    Promise.all(names.map((name) => api.post("/v1/translate", { model: name, input: text, alignment: true }).then(
      (answer) => setAnswers((before) => ({ ...before, [name]: answer.data[0] })),
      (error) => setAnswers((before) => ({ ...before, [name]: { trouble: messageOf(error) } })),
    ))).then(() => setBusy(false));
  }
  useEffect(translate, []);

  const curves = models.filter((model) => (model.headway.length_curve ?? []).length > 1)
    .map((model) => ({ name: model.id, points: /** @type {Array<[number, number]>} */ ((model.headway.length_curve ?? []).map((one) => [one.words, one.bleu])) }));
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); translate(); }}>
      <${TextArea} id="translate-text" label="English" value=${text} rows=${2} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${translate} />
      <button class="main" type="submit" disabled=${busy || names.length === 0}>${busy ? "Translating" : "Translate"}</button>
    </form>
    ${names.length === 0 ? html`<p class="empty">No translator is served. Start the server with one: headway serve en-fr</p>` : null}
    <div class="columns" aria-live="polite">${names.map((name) => html`<${One} key=${name} name=${name}
      family=${models.find((model) => model.id === name)?.headway.family ?? ""} answer=${answers[name]} />`)}</div>
    ${curves.length === 0 ? null : html`<h2>How length hurts</h2>
      <p class="hint">BLEU on held-out sentences by their length in words, from the model cards.</p>
      <${Curve} series=${curves} x="words of the source" y="BLEU" label="BLEU by length" />`}
  </section>`;
}

/** @param {{name: string, family: string, answer: any}} props */
function One({ name, family, answer }) {
  return html`<article><h2>${name}</h2><p class="hint">${KIND[family] ?? family}${name.includes("fixed") ? ", one fixed vector" : name.includes("search") ? ", Bahdanau's attention" : ""}</p>
    ${answer === undefined ? html`<p class="waiting">Waiting.</p>` : answer.trouble ? html`<${Trouble} message=${answer.trouble} />` : html`
      <p class="translation">${answer.text}</p>
      ${answer.alignment === null ? html`<p class="hint">It reads the sentence once into one vector, so there is no alignment to draw.</p>` : html`<${Alignment} found=${answer.alignment} />`}`}
  </article>`;
}

/** @param {{found: {source: string[], target: string[], weights: number[][]}}} props */
function Alignment({ found }) {
  const [place, setPlace] = useState(/** @type {[number, number] | null} */ (null));
  const [row, column] = place ?? [-1, -1];
  /** @param {number} at @param {number} to */
  const valueAt = (at, to) => found.weights[at]?.[to] ?? 0;
  const best = found.target.map((word, at) => {
    const weights = found.weights[at] ?? [];
    return { word, source: found.source[weights.indexOf(Math.max(...weights))] ?? "" };
  });
  return html`<figure class="head-large"><${MapCanvas} rows=${found.target.length} columns=${found.source.length} cell=${24}
      label="Alignment: rows are words of the translation, columns words of the source" valueAt=${valueAt} onPlace=${setPlace} />
    <figcaption class="hint">${found.target[row] !== undefined && found.source[column] !== undefined
      ? `"${found.target[row]}" read "${found.source[column]}": ${(valueAt(row, column) * 100).toFixed(0)} %`
      : "Rows: words of the translation. Columns: words of the source."}</figcaption>
    <p class="figures">${best.map((one, at) => html`<span key=${at}>${at === 0 ? "" : ", "}<q>${one.word}</q> from <q>${one.source}</q></span>`)}</p></figure>`;
}

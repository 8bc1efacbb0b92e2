/** Translate: a fixed vector, Bahdanau's attention and a Transformer side by side on one sentence. */
import { messageOf } from "../api.mjs";
import { Curve } from "../parts/curve.mjs";
import { TextArea, Trouble, doing, namesFor } from "../parts/fields.mjs";
import { LabelledMap, Scale } from "../parts/maps.mjs";
import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.mjs";

export const title = "Translate";
const SENTENCES = [
  { name: "A short one", text: "The man who lives in the big house is my brother." },
  { name: "A long one", text: "When I was a child, my mother used to tell me that the old man who lived alone in the house at the end of our street had once been a famous doctor." },
];
const BESIDE = 16; // words; the alignments of more have no room beside each other
const STORY = [
  { words: "recurrent, one fixed vector", told: "The whole sentence must pass through one vector, whatever its length; there is no alignment to draw." },
  { words: "recurrent, Bahdanau's attention", told: "" },
  { words: "Transformer, attention alone", told: "" },
];

/**
 * Where a translator stands in the story: 0 one fixed vector, 1 recurrent with attention, 2 a Transformer.
 * @param {import("../types.mjs").Model} model
 */
function chapterOf(model) {
  if (model.headway.family === "transformer") {
    return 2;
  }
  return model.id.includes("fixed") ? 0 : 1;
}

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = namesFor(models, "translate");
  const served = models.filter((model) => names.includes(model.id)).sort((one, two) => chapterOf(one) - chapterOf(two));
  const text = state.text ?? SENTENCES[0]?.text ?? "";
  const [answers, setAnswers] = useState(/** @type {Record<string, any>} */ ({}));
  const [busy, setBusy] = useState(false);
  const [long, setLong] = useState(false);
  const latest = useRef(0);

  /** @param {string} sentence */
  function translate(sentence) {
    const number = (latest.current += 1);
    setBusy(true);
    setAnswers({});
    setLong((sentence.match(/\S+/g) ?? []).length > BESIDE);
    /** @param {string} name @param {any} answer */
    const put = (name, answer) => {
      if (number === latest.current) {
        setAnswers((before) => ({ ...before, [name]: answer }));
      }
    };
    Promise.all(names.map((name) => api.post("/v1/translate", { model: name, input: sentence, alignment: true }).then(
      (answer) => put(name, answer.data[0]),
      (error) => put(name, { trouble: messageOf(error) }),
    ))).then(() => {
      if (number === latest.current) {
        setBusy(false);
      }
    });
  }
  useEffect(() => {
    if (names.length > 0) {
      translate(text);
    }
  }, []);

  const curves = served.filter((model) => (model.headway.length_curve ?? []).length > 1)
    .map((model) => ({ name: model.id, points: /** @type {Array<[number, number]>} */ ((model.headway.length_curve ?? []).map((one) => [one.words, one.bleu])) }));
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); translate(text); }}>
      <${TextArea} id="translate-text" label=${languageOf(served)} value=${text} rows=${2} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${() => translate(text)} />
      <div class="row actions" data-export="no"><button class="main" type="submit" ...${doing(busy || names.length === 0)}>${busy ? "Translating" : "Translate"}</button>
        ${SENTENCES.map((one) => html`<button type="button" key=${one.name}
          ...${doing(busy || names.length === 0, () => { setState({ text: one.text }); translate(one.text); })}>${one.name}</button>`)}</div>
    </form>
    ${names.length === 0 ? html`<p class="empty">No translator is served. Start the server with one: headway serve en-fr</p>` : null}
    <div class=${long ? "columns long" : "columns"} aria-live="polite">${served.map((model) => html`<${One} key=${model.id} name=${model.id}
      chapter=${chapterOf(model)} answer=${answers[model.id]} />`)}</div>
    ${curves.length === 0 ? null : html`<h2>How length hurts</h2>
      <p class="hint">BLEU on held-out sentences by their length in words, from the model cards.</p>
      <${Curve} series=${curves} x="words of the source" y="BLEU" label="BLEU by length" />`}
  </section>`;
}

/**
 * The language that the translators read, where all read one.
 * @param {import("../types.mjs").Model[]} served
 */
function languageOf(served) {
  const codes = new Set(served.map((model) => model.headway.languages?.[0] ?? "en"));
  const [code = "en"] = codes;
  try {
    return codes.size > 1 ? "Sentence" : (new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? "Sentence");
  } catch {
    return "Sentence";
  }
}

/** @param {{name: string, chapter: number, answer: any}} props */
function One({ name, chapter, answer }) {
  const drawn = answer?.alignment ?? null;
  return html`<article><div><h2>${name}</h2><p class="hint">${STORY[chapter]?.words ?? ""}</p>
    ${answer === undefined ? html`<p class="waiting">Waiting.</p>` : answer.trouble ? html`<${Trouble} message=${answer.trouble} />` : html`
      <p class="translation">${answer.text}</p>
      ${drawn !== null ? null : html`<p class="hint">${STORY[chapter]?.told || "This model aligns nothing that could be drawn."}</p>`}`}</div>
    ${drawn === null ? null : html`<${Alignment} found=${drawn} />`}
  </article>`;
}

/** @param {{found: {source: string[], target: string[], weights: number[][]}}} props */
function Alignment({ found }) {
  const [place, setPlace] = useState(/** @type {[number, number] | null} */ (null));
  const [row, column] = place ?? [-1, -1];
  const valueAt = useMemo(() => (/** @type {number} */ at, /** @type {number} */ to) => found.weights[at]?.[to] ?? 0, [found]);
  const best = found.target.map((word, at) => {
    const weights = found.weights[at] ?? [];
    return { word, source: found.source[weights.indexOf(Math.max(...weights))] ?? "" };
  });
  return html`<figure class="head-large">
    <${LabelledMap} rows=${found.target} columns=${found.source} row=${row}
      label="Alignment: rows are words of the translation, columns words of the source" valueAt=${valueAt} onPlace=${setPlace} />
    <${Scale} />
    <figcaption class="hint">${found.target[row] !== undefined && found.source[column] !== undefined
      ? `"${found.target[row]}" read "${found.source[column]}": ${(valueAt(row, column) * 100).toFixed(0)} %`
      : "Rows: words of the translation. Columns: words of the source."}</figcaption>
    <details><summary>Word by word</summary><p class="figures">${best.map((one, at) => html`<span key=${at}>${at === 0 ? "" : ", "}<q>${one.word}</q> from <q>${one.source}</q></span>`)}</p></details></figure>`;
}

/** The honest panel: what each model is, what it learned from, its licence and its limits. */
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";
import { Markdown } from "./markdown.mjs";

/**
 * @param {object} props
 * @param {import("../types.mjs").Model[]} props.models
 * @param {() => void} props.onClose
 */
export function ModelsPanel({ models, onClose }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [open, setOpen] = useState(models[0]?.id ?? "");
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const model = models.find((one) => one.id === open);
  return html`<dialog class="models-panel" ref=${dialog} aria-labelledby="models-title" onClose=${onClose}>
    <div class="panel-head">
      <h2 id="models-title">The models, honestly</h2>
      <button type="button" onClick=${() => dialog.current?.close()}>Close</button>
    </div>
    <p class="hint">Small models, trained on small texts. They go on from what they read; they know nothing, and what
      they write may be false, unkind or copied from what they learned.</p>
    <div class="choices" role="group" aria-label="Models served">
      ${models.map((one) => html`<button type="button" key=${one.id} aria-pressed=${one.id === open ? "true" : "false"}
        onClick=${() => setOpen(one.id)}>${one.id}</button>`)}
    </div>
    ${model === undefined ? html`<p>No model is served.</p>` : html`<${Facts} model=${model} />`}
  </dialog>`;
}

/** @param {{model: import("../types.mjs").Model}} props */
function Facts({ model }) {
  const facts = model.headway;
  const engine = [facts.engine, facts.bits ? `${facts.bits} bit` : null, facts.kernels].filter(Boolean).join(", ");
  /** @type {Array<[string, string | null]>} */
  const rows = [
    ["Family", facts.family],
    ["Does", facts.verbs.join(", ")],
    ["Languages", facts.languages?.length ? facts.languages.join(" to ") : null],
    ["Labels", facts.labels?.length ? facts.labels.join(", ") : null],
    ["Parameters", facts.parameters ? facts.parameters.toLocaleString("en") : null],
    ["Layers and heads", facts.layers ? `${facts.layers}${facts.heads ? ` layers of ${facts.heads} heads` : " layers"}` : null],
    ["Context", facts.context ? `${facts.context.toLocaleString("en")} tokens` : null],
    ["Vocabulary", facts.vocabulary ? `${facts.vocabulary.toLocaleString("en")} tokens` : null],
    ["Runs on", engine === "" ? null : engine],
    ["Licence", facts.card?.licence ?? null],
  ];
  return html`<section aria-label=${model.id}>
    <h3>${facts.card?.title ?? model.id}</h3>
    <dl class="facts">${rows.filter(([, value]) => value !== null && value !== "").map(([name, value]) => html`
      <div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${facts.card ? html`<${Markdown} text=${withoutTitle(facts.card.text)} />`
      : html`<p>This model has no card: what it learned from, and under which licence it may be used, is not known.</p>`}
  </section>`;
}

/** @param {string} text */
function withoutTitle(text) {
  return text.replace(/^\s*#\s+.*\n/, "");
}

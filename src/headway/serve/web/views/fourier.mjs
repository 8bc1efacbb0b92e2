/** Fourier: what the layers of a model do with a signal, attention beside its cousins. */
import { messageOf } from "../api.mjs";
import { Curve } from "../parts/curve.mjs";
import { Select, TextArea, Trouble } from "../parts/fields.mjs";
import { html, useEffect, useState } from "../vendor/preact-htm.mjs";

export const title = "Fourier";
const TEXT = "It was a fine day, and they walked by the sea. The water was calm, and the boats lay on the sand.";

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = models.map((model) => model.id);
  const model = state.model ?? names.find((name) => name.includes("fnet")) ?? names[0] ?? "";
  const text = state.text ?? TEXT;
  const [found, setFound] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  function measure() {
    setBusy(true);
    setTrouble("");
    api.post("/v1/spectrum", { model, text }).then((answer) => { setFound(answer); setBusy(false); }, (error) => { setFound(null); setTrouble(messageOf(error)); setBusy(false); });
  }
  useEffect(measure, [model]);
  const shares = found?.positions?.shares ?? [];
  const readings = /** @type {any[]} */ (found?.readings ?? []).filter((one) => typeof one.layer === "number");
  const curves = [...new Set(readings.map((one) => one.where))].map((where) => ({
    name: String(where),
    points: /** @type {Array<[number, number]>} */ (readings.filter((one) => one.where === where).map((one) => [one.layer, one.identity * 100])),
  }));
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); measure(); }}>
      <${Select} id="fourier-model" label="Model" value=${model} options=${names} onChange=${(/** @type {string} */ name) => setState({ model: name })} />
      <${TextArea} id="fourier-text" label="Text" value=${text} rows=${3} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${measure} />
      <button class="main" type="submit" disabled=${busy}>${busy ? "Measuring" : "Measure"}</button>
    </form>
    <${Trouble} message=${trouble} />
    ${found === null ? null : html`
      <p class="figures">${found.tokens} tokens, in windows of ${found.window}.</p>
      ${shares.length < 2 ? null : html`<h2>Spectrum of the learned positions</h2>
        <p class="hint">The share of the position embeddings' energy at each frequency; ${((found.positions.low ?? 0) * 100).toFixed(0)} % stands in the lowest sixteenth.</p>
        <${Curve} series=${[{ name: "share of the energy, %", points: shares.map((/** @type {number} */ value, /** @type {number} */ at) => [at, value * 100]) }]} x="periods in the context" y="%" label="Spectrum of the positions" />`}
      ${curves.every((one) => one.points.length < 2) ? null : html`<h2>What can be read back</h2>
        <p class="hint">How many of the tokens a linear map finds again in the stream after each layer.</p>
        <${Curve} series=${curves} x="layer" y="tokens found again, %" label="Tokens found again by layer" />`}
      <${Layers} found=${found} />`}
  </section>`;
}

/** @param {{found: any}} props */
function Layers({ found }) {
  const tables = Object.entries(found).filter(([, value]) => Array.isArray(value) && value.length > 0 && typeof value[0] === "object" && value[0] !== null);
  return html`${tables.map(([name, rows]) => {
    const columns = Object.keys(/** @type {any[]} */ (rows)[0]).filter((column) => /** @type {any[]} */ (rows).every((row) => row[column] === null || ["number", "string", "boolean"].includes(typeof row[column])));
    return html`<h2 key=${name}>${name.replaceAll("_", " ")}</h2><div class="scrolls"><table><thead><tr>${columns.map((column) => html`<th key=${column}>${column.replaceAll("_", " ")}</th>`)}</tr></thead><tbody>
      ${/** @type {any[]} */ (rows).map((row, at) => html`<tr key=${at}>${columns.map((column) => html`<td key=${column} class=${typeof row[column] === "number" ? "number" : ""}>${
        typeof row[column] === "number" ? Number(row[column].toPrecision(3)).toString() : String(row[column] ?? "-")}</td>`)}</tr>`)}</tbody></table></div>`;
  })}`;
}

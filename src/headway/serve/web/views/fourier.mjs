/** Fourier: what the layers of a model do with a signal, attention beside its cousins. */
import { messageOf } from "../api.mjs";
import { Curve } from "../parts/curve.mjs";
import { Select, TextArea, Trouble, doing } from "../parts/fields.mjs";
import { LabelledMap, probabilitiesOf } from "../parts/maps.mjs";
import { spoken } from "../parts/tokens.mjs";
import { meanShares, sharesOf, weightOf } from "../parts/waves.mjs";
import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.mjs";

export const title = "Fourier";
const TEXT = "It was a fine day, and they walked by the sea. The water was calm, and the boats lay on the sand.";
const MIXERS = /** @type {Record<string, string>} */ ({
  attention: "attention", fourier: "Fourier", hartley: "Hartley", laplace: "Laplace", none: "nothing" });

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = models.filter((model) => typeof model.headway.layers === "number").map((model) => model.id);
  const model = state.model ?? names.find((name) => name.includes("fnet")) ?? names[0] ?? "";
  const text = state.text ?? TEXT;
  const [found, setFound] = useState(/** @type {any} */ (null));
  const [measured, setMeasured] = useState(text);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const latest = useRef(0);

  function measure() {
    const number = (latest.current += 1);
    setBusy(true);
    setTrouble("");
    api.post("/v1/spectrum", { model, text }).then((answer) => [answer, ""], (error) => [null, messageOf(error)]).then(([answer, said]) => {
      if (number === latest.current) {
        setFound(answer);
        setMeasured(text);
        setTrouble(said);
        setBusy(false);
      }
    });
  }
  useEffect(() => {
    if (model !== "") {
      measure();
    }
  }, [model]);

  const shares = found?.positions?.shares ?? [];
  const readings = /** @type {any[]} */ (found?.readings ?? []).filter((one) => typeof one.layer === "number");
  const curves = [...new Set(readings.map((one) => one.where))].map((where) => ({
    name: String(where),
    points: /** @type {Array<[number, number]>} */ (readings.filter((one) => one.where === where).map((one) => [one.layer, one.identity * 100])),
  }));
  const translates = models.find((one) => one.id === model)?.headway.verbs.includes("translate") ?? false;
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); measure(); }}>
      <${TextArea} id="fourier-text" label="Text" value=${text} rows=${3} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${measure} />
      <div class="row"><${Select} id="fourier-model" label="Model" value=${model} options=${names} onChange=${(/** @type {string} */ name) => setState({ model: name, layer: "", head: "", row: "" })} />
        <button class="main" type="submit" ...${doing(busy || model === "")}>${busy ? "Measuring" : "Measure"}</button></div>
    </form>
    <${Trouble} message=${trouble} />
    <p class="unseen" role="status">${busy ? "Measuring." : found === null ? "" : "Measured."}</p>
    ${found === null ? (trouble === "" ? html`<p class="waiting" aria-hidden="true">Measuring.</p>` : null) : html`
      <p class="figures">${found.tokens} tokens, in windows of ${found.window}.</p>
      <${OneLayer} key=${found.model} api=${api} model=${found.model} text=${measured} translates=${translates} mixers=${found.mixers} state=${state} setState=${setState} />
      <div class="two-columns even apart">
      ${shares.length < 2 ? null : html`<div><h2>Spectrum of the learned positions</h2>
        <p class="hint">The share of the position embeddings' energy at each frequency; ${((found.positions.low ?? 0) * 100).toFixed(0)} % stands in the lowest sixteenth.</p>
        <${Curve} series=${[{ name: "position embeddings", points: shares.map((/** @type {number} */ value, /** @type {number} */ at) => [at + 1, value * 100]) }]} x="periods in the context" y="% of the energy" label="Spectrum of the positions" /></div>`}
      ${curves.every((one) => one.points.length < 2) ? null : html`<div><h2>What can be read back</h2>
        <p class="hint">How many of the tokens a linear map finds again in the stream after each layer.</p>
        <${Curve} series=${curves} x="layer" y="tokens found again, %" label="Tokens found again by layer" /></div>`}</div>
      <${Layers} found=${found} />`}
  </section>`;
}

/**
 * One layer's mixing: every place as a row over the places it takes from, one row as a signal, and its spectrum.
 * @param {{api: import("../types.mjs").Api, model: string, text: string, translates: boolean, mixers: string[],
 *   state: Record<string, string>, setState: (patch: Record<string, string>) => void}} props
 */
function OneLayer({ api, model, text, translates, mixers, state, setState }) {
  const layer = numberOf(state["layer"], mixers.length) ?? 0;
  const mixer = mixers[layer] ?? "attention";
  const [pointed, setPointed] = useState(/** @type {number | null} */ (null));
  const [seen, setSeen] = useState(/** @type {any} */ (null));
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    const own = new AbortController();
    const given = translates ? { source: text } : { text };
    const attention = mixer === "attention" ? [layer] : [];
    setTrouble("");
    api.post("/v1/inspect", { model, ...given, attention, encoding: "u16", top: 0 }, { signal: own.signal }).then((answer) => {
      const map = answer.attention?.[`${translates ? "encoder." : ""}${layer}`];
      const tokens = (translates ? answer.source_tokens : answer.tokens).map((/** @type {any} */ one) => one.text);
      setSeen({ layer, tokens, heads: map?.shape[0] ?? 0, values: map === undefined ? null : probabilitiesOf(map.data) });
    }, (error) => setTrouble(messageOf(error)));
    return () => own.abort();
  }, [model, text, layer]);

  const ready = seen !== null && seen.layer === layer;
  const tokens = /** @type {string[]} */ (ready ? seen.tokens : []);
  const size = tokens.length;
  const head = numberOf(state["head"], ready ? seen.heads : 0) ?? 0;
  const transform = mixer === "fourier" || mixer === "hartley";
  const valueAt = useMemo(() => (/** @type {number} */ row, /** @type {number} */ column) =>
    (transform ? weightOf(mixer, row, column, size) : (seen?.values?.[(head * size + row) * size + column] ?? 0)), [seen, head, mixer, size]);
  const all = useMemo(() => Array.from({ length: size }, (_, row) => Array.from({ length: size }, (__, column) => valueAt(row, column))), [valueAt]);
  const row = Math.min(pointed ?? numberOf(state["row"], size) ?? (transform ? 3 : size - 1), size - 1);
  // From the middle on the same waves come back.
  const rows = transform ? tokens.map((_, at) => periods(Math.min(at, size - at))) : tokens;
  const rowName = transform ? (rows[row] ?? "") : `${row}: ${spoken(rows[row] ?? "")}`; // a word may stand in many places
  const drawn = ready && size > 0 && (transform || seen.values !== null);
  return html`<h2>One layer's mixing</h2>
    <div class="choices" role="group" aria-label="Layers">${mixers.map((name, at) => html`<button type="button" key=${at} aria-pressed=${at === layer ? "true" : "false"}
      onClick=${() => { setState({ layer: String(at), head: "", row: "" }); setPointed(null); }}>${at}: ${MIXERS[name] ?? name}</button>`)}</div>
    ${mixer !== "attention" || !ready ? null : html`<div class="choices" role="group" aria-label="Heads">${Array.from({ length: seen.heads }, (_, at) => html`<button type="button" key=${at}
      aria-pressed=${at === head ? "true" : "false"} onClick=${() => setState({ head: String(at) })}>Head ${at}</button>`)}</div>`}
    <p class="hint">${TOLD[mixer] ?? ""}</p>
    <${Trouble} message=${trouble} />
    ${!ready && trouble === "" ? html`<p class="waiting">Fetching layer ${layer}.</p>` : null}
    ${!drawn ? null : html`<div class="signal">
      <figure><${LabelledMap} rows=${rows} columns=${tokens} label=${`Layer ${layer}: what each place takes from each token`} valueAt=${valueAt} row=${row}
        onPlace=${(/** @type {[number, number] | null} */ at) => at !== null && setPointed(at[0])} />
        <p class="legend">${transform ? html`<span><span class="part-sample"></span> added</span> <span><span class="part-sample against"></span> taken away</span>` : html`Attention: 0 % <span class="scale"></span> 100 %`}</p>
        <div class="slider"><label for="signal-row">Row</label><output for="signal-row">${rowName}</output>
          <input id="signal-row" type="range" min="0" max=${size - 1} step="1" value=${row} aria-valuetext=${rowName}
            onInput=${(/** @type {Event} */ event) => { setPointed(null); setState({ row: /** @type {HTMLInputElement} */ (event.target).value }); }} /></div></figure>
      <div><h3>The row as a signal</h3>
        <${Plot} values=${all[row] ?? []} x="place in the text" y=${transform ? "weight" : "share read"} label=${`Row ${rows[row]} by place`} />
        <h3>Its spectrum</h3>
        <${Curve} series=${[{ name: "this row", points: points(sharesOf(all[row] ?? [])) }, ...(transform ? [] : [{ name: "mean of all rows", points: points(meanShares(all)) }])]}
          x="periods in the text" y="% of the power" label=${`Spectrum of row ${rows[row]}`} /></div></div>`}`;
}

const TOLD = /** @type {Record<string, string>} */ ({
  attention: "Each row is what one token takes from the others, learned and different for each text. A row that reads one place has a flat spectrum; one that averages has all of it at 0.",
  fourier: "Nothing is learned here: each row is a wave, the same for every text, so that its spectrum is one line. This is the transform along the tokens; the layer also takes it along the width.",
  hartley: "Nothing is learned here: each row is a wave, sine and cosine together, the same for every text. This is the transform along the tokens; the layer also takes it along the width.",
  laplace: "A bank of fading waves reads the text from its beginning; how long each is remembered stands in the table of banks below.",
  none: "This layer does not mix: each token is read alone.",
});

/**
 * A number of a link, where there are so many; null without one.
 * @param {string | undefined} text
 * @param {number} count
 */
function numberOf(text, count) {
  return text !== undefined && /^\d{1,6}$/.test(text) && Number(text) < count ? Number(text) : null;
}

/** @param {number} count */
function periods(count) {
  return count === 1 ? "1 period" : `${count} periods`;
}

/**
 * @param {number[]} values
 * @returns {Array<[number, number]>}
 */
function points(values) {
  return values.map((value, at) => [at, value]);
}

/** @param {{values: number[], x: string, y: string, label: string}} props */
function Plot({ values, x, y, label }) {
  const width = 480;
  const most = Math.max(...values.map(Math.abs), 1e-9);
  const below = values.some((value) => value < 0);
  const zero = below ? 60 : 112;
  const step = (width - 60) / Math.max(1, values.length);
  return html`<figure class="curve"><svg viewBox=${`0 0 ${width} 140`} role="img" aria-label=${label}>
    <line class="grid" x1="48" x2=${width - 12} y1=${zero} y2=${zero} />
    <text x="42" y="16" text-anchor="end">${most.toPrecision(2)}</text><text x="42" y=${zero + 4} text-anchor="end">0</text>
    ${below ? html`<text x="42" y="112" text-anchor="end">${(-most).toPrecision(2)}</text>` : null}
    <text x="12" y="72" text-anchor="middle" transform="rotate(-90 12 72)">${y}</text>
    ${values.map((value, at) => html`<rect key=${at} class=${value < 0 ? "stem against" : "stem"} x=${48 + at * step + step * 0.15} width=${step * 0.7}
      y=${value < 0 ? zero : zero - (Math.abs(value) / most) * (zero - 12)} height=${(Math.abs(value) / most) * (below ? 48 : 100)} />`)}
    <text x=${(48 + width) / 2} y="134" text-anchor="middle">${x}</text></svg></figure>`;
}

const WIDE = 6; // columns; more have no room on a phone

/** What the columns of the tables mean. */
const MEANINGS = /** @type {Record<string, string>} */ ({
  low: "share of a row's power in its lowest sixteenth of frequencies: 1 is an average",
  "effective rank": "how many independent rows the head has",
  condition: "how far the map is from being undone; - beyond what can be told",
  "with residual": "the same of the map plus the stream it is added to",
  entropy: "of a row, in bits",
  distance: "tokens between reader and read",
  passed: "what is left of the differences between places: 1 all, 0 nothing",
});

/** @param {{found: any}} props */
function Layers({ found }) {
  const tables = Object.entries(found).filter(([, value]) => Array.isArray(value) && value.length > 0 && typeof value[0] === "object" && value[0] !== null);
  return html`${tables.map(([name, rows]) => {
    const columns = Object.keys(/** @type {any[]} */ (rows)[0]).filter((column) => /** @type {any[]} */ (rows).every((row) => row[column] === null || ["number", "string", "boolean"].includes(typeof row[column])));
    const digits = Object.fromEntries(columns.map((column) => [column, digitsOf(/** @type {any[]} */ (rows).map((row) => row[column]))]));
    const told = columns.map((column) => column.replaceAll("_", " ")).filter((column) => MEANINGS[column] !== undefined);
    return html`<h2 key=${name}>${name === "heads" ? "Figures of every head" : name.replaceAll("_", " ")}</h2>
      <div class="scrolls" tabindex="0" role="region" aria-label=${`Table: ${name}`}><table><thead><tr>${columns.map((column) => html`<th key=${column} scope="col" class="number">${column.replaceAll("_", " ")}</th>`)}</tr></thead><tbody>
      ${/** @type {any[]} */ (rows).map((row, at) => html`<tr key=${at}>${columns.map((column) => html`<td key=${column} class="number">${figure(row[column], digits[column] ?? 0)}</td>`)}</tr>`)}</tbody></table></div>
      ${columns.length < WIDE ? null : html`<p class="hint goes-on" aria-hidden="true">The table goes on to the right.</p>`}
      ${told.length === 0 ? null : html`<dl class="facts meanings">${told.map((column) => html`<div key=${column}><dt>${column}</dt><dd>${MEANINGS[column]}</dd></div>`)}</dl>`}`;
  })}`;
}

/**
 * How many decimals the figures of one column have, so that they stand one below another: three digits of the largest.
 * @param {unknown[]} values
 */
function digitsOf(values) {
  const sizes = values.flatMap((value) => (typeof value === "number" && isPlain(value) ? [Math.abs(value)] : []));
  return sizes.every(Number.isInteger) ? 0 : Math.max(0, Math.min(4, 2 - Math.floor(Math.log10(Math.max(...sizes)))));
}

/**
 * Whether a figure is written without powers of ten: neither huge nor tiny.
 * @param {number} value
 */
function isPlain(value) {
  return value === 0 || (Math.abs(value) < 1e5 && Math.abs(value) >= 1e-3);
}

/**
 * A figure with its column's decimals, and powers of ten where it is huge or tiny.
 * @param {unknown} value
 * @param {number} digits
 */
function figure(value, digits) {
  if (typeof value !== "number") {
    return String(value ?? "-");
  }
  return isPlain(value) ? value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : value.toExponential(1);
}

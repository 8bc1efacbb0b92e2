/** Fill: a reader sees both sides of a gap; what it guesses, and what the gap reads. */
import { messageOf } from "../api.mjs";
import { Bars } from "../parts/bars.mjs";
import { Select, TextArea, Trouble, doing, namesFor } from "../parts/fields.mjs";
import { HeadLarge, Thumbnails, probabilitiesOf } from "../parts/maps.mjs";
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";

export const title = "Fill";
const TEXT = "The [MASK] of the Union is strong.";

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = namesFor(models, "fill");
  const model = state.model ?? names[0] ?? "";
  const text = state.text ?? TEXT;
  const [guesses, setGuesses] = useState(/** @type {any[]} */ ([]));
  const [seen, setSeen] = useState(/** @type {any} */ (null));
  const [selected, setSelected] = useState(/** @type {[number, number] | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [map, setMap] = useState(/** @type {any} */ (null));
  const [trouble, setTrouble] = useState("");
  const latest = useRef(0);

  function fill() {
    const number = (latest.current += 1);
    setBusy(true);
    setTrouble("");
    Promise.all([api.post("/v1/fill", { model, input: text, top: 8 }), api.post("/v1/inspect", { model, text, thumbnails: 24 })]).then(
      ([answer, found]) => {
        if (number === latest.current) {
          setGuesses(answer.data);
          setSeen(found);
          setMap(null);
          setSelected((before) => (before !== null && found.attends.includes(before[0]) ? before : found.attends.length > 0 ? [found.attends[0], 0] : null));
          setBusy(false);
        }
      },
      (error) => {
        if (number === latest.current) {
          setGuesses([]);
          setSeen(null);
          setTrouble(messageOf(error));
          setBusy(false);
        }
      },
    );
  }
  useEffect(() => { if (model !== "") { fill(); } }, [model]);
  const layer = selected === null ? null : selected[0];
  useEffect(() => {
    if (!seen?.thumbnails || layer === null || map?.layer === layer) {
      return undefined;
    }
    const own = new AbortController();
    api.post("/v1/inspect", { model, ids: seen.tokens.map((/** @type {any} */ one) => one.id), attention: [layer], encoding: "u16" }, { signal: own.signal }).then(
      (answer) => {
        const found = answer.attention[String(layer)];
        setMap({ layer, shape: found.shape, values: probabilitiesOf(found.data), tokens: answer.tokens.map((/** @type {any} */ one) => one.text) });
      },
      (error) => setTrouble(messageOf(error)),
    );
    return () => own.abort();
  }, [seen, layer]);

  const places = [...new Set(guesses.map((one) => one.place))];
  const gap = seen?.masks?.[0]?.position;
  if (names.length === 0) {
    return html`<p class="empty">No reader is served. Start the server with one: headway serve reader</p>`;
  }
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); fill(); }}>
      <${TextArea} id="fill-text" label="Text with [MASK] where something is hidden" value=${text} rows=${2} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${fill} />
      <div class="row"><${Select} id="fill-model" label="Reader" value=${model} options=${names} onChange=${(/** @type {string} */ name) => setState({ model: name })} />
        <button class="main" type="submit" ...${doing(busy)}>${busy ? "Guessing" : "Guess"}</button></div>
    </form>
    <${Trouble} message=${trouble} />
    ${guesses.length === 0 && trouble === "" ? html`<p class="waiting">${busy ? "The reader reads." : ""}</p>` : null}
    <div class="columns" aria-live="polite">${places.map((place) => {
      const own = guesses.filter((one) => one.place === place);
      const vocabulary = models.find((one) => one.id === model)?.headway.vocabulary ?? own.length;
      const rest = { count: Math.max(0, vocabulary - own.length), probability: Math.max(0, 1 - own.reduce((sum, one) => sum + one.probability, 0)) };
      return html`<article key=${place}><h2>Gap ${place + 1}</h2>
        <${Bars} candidates=${own.map((one) => ({ id: one.id, text: one.token, probability: one.probability }))} rest=${rest} label=${`Gap ${place + 1}`} /></article>`;
    })}</div>
    ${seen?.thumbnails && selected !== null ? html`<h2>What it reads, on both sides</h2><div class="look-heads">
      <div><${Thumbnails} layers=${seen.thumbnails.shape[0]} heads=${seen.thumbnails.shape[1]} side=${seen.thumbnails.side} data=${seen.thumbnails.data}
        attends=${seen.attends} selected=${selected} off=${new Set()} onSelect=${(/** @type {number} */ to, /** @type {number} */ head) => setSelected([to, head])} />
        <p class="hint">Rows are layers, columns heads; arrow keys move. Each map is scaled by its own maximum.</p></div>
      <div><h3>Layer ${selected[0]}, head ${selected[1]}</h3>
      ${map === null || map.layer !== selected[0] ? html`<p class="waiting">Fetching layer ${selected[0]}.</p>` : html`<${HeadLarge} rows=${map.tokens} columns=${map.tokens}
        values=${map.values} first=${selected[1] * map.shape[1] * map.shape[2]} label=${`Attention of layer ${selected[0]}, head ${selected[1]}`} start=${gap} />`}</div></div>`
      : seen === null ? null : html`<p class="hint">This model mixes its tokens by a Fourier transform and has no attention to show.</p>`}
  </section>`;
}

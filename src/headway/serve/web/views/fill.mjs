/** Fill: a reader sees both sides of a gap; what it guesses, and what the gap reads. */
import { messageOf } from "../api.mjs";
import { Bars } from "../parts/bars.mjs";
import { Select, TextArea, Trouble, namesFor } from "../parts/fields.mjs";
import { HeadLarge, Thumbnails, probabilitiesOf } from "../parts/maps.mjs";
import { html, useEffect, useState } from "../vendor/preact-htm.mjs";

export const title = "Fill";
const TEXT = "The [MASK] of the Union is strong.";

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = namesFor(models, "fill");
  const model = state.model ?? names[0] ?? "";
  const text = state.text ?? TEXT;
  const [guesses, setGuesses] = useState(/** @type {any[]} */ ([]));
  const [seen, setSeen] = useState(/** @type {any} */ (null));
  const [selected, setSelected] = useState(/** @type {[number, number]} */ ([0, 0]));
  const [map, setMap] = useState(/** @type {any} */ (null));
  const [trouble, setTrouble] = useState("");

  function fill() {
    setTrouble("");
    api.post("/v1/fill", { model, input: text, top: 8 }).then((answer) => setGuesses(answer.data), (error) => { setGuesses([]); setTrouble(messageOf(error)); });
    api.post("/v1/inspect", { model, text, thumbnails: 24 }).then(setSeen, () => setSeen(null));
  }
  useEffect(() => { if (model !== "") { fill(); } }, [model]);
  useEffect(() => {
    if (seen?.thumbnails) {
      api.post("/v1/inspect", { model, text, attention: [selected[0]], encoding: "u16" }).then(
        (answer) => {
          const found = answer.attention[String(selected[0])];
          setMap({ layer: selected[0], shape: found.shape, values: probabilitiesOf(found.data), tokens: answer.tokens.map((/** @type {any} */ one) => one.text) });
        },
        (error) => setTrouble(messageOf(error)),
      );
    }
  }, [seen, selected[0]]);

  const places = [...new Set(guesses.map((one) => one.place))];
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); fill(); }}>
      <${Select} id="fill-model" label="Reader" value=${model} options=${names} onChange=${(/** @type {string} */ name) => setState({ model: name })} />
      <${TextArea} id="fill-text" label="Text with [MASK] where something is hidden" value=${text} rows=${2} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${fill} />
      <button class="main" type="submit">Guess</button>
    </form>
    <${Trouble} message=${trouble} />
    <div class="columns" aria-live="polite">${places.map((place) => {
      const own = guesses.filter((one) => one.place === place);
      const vocabulary = models.find((one) => one.id === model)?.headway.vocabulary ?? own.length;
      const rest = { count: Math.max(0, vocabulary - own.length), probability: Math.max(0, 1 - own.reduce((sum, one) => sum + one.probability, 0)) };
      return html`<article key=${place}><h2>Gap ${place + 1}</h2>
        <${Bars} candidates=${own.map((one) => ({ id: one.id, text: one.token, probability: one.probability }))} rest=${rest} /></article>`;
    })}</div>
    ${seen?.thumbnails ? html`<h2>What it reads, on both sides</h2><div class="look-heads">
      <${Thumbnails} layers=${seen.thumbnails.shape[0]} heads=${seen.thumbnails.shape[1]} side=${seen.thumbnails.side} data=${seen.thumbnails.data}
        selected=${selected} off=${new Set()} onSelect=${(/** @type {number} */ layer, /** @type {number} */ head) => setSelected([layer, head])} />
      ${map === null || map.layer !== selected[0] ? html`<p class="waiting">Fetching layer ${selected[0]}.</p>` : html`<${HeadLarge} rows=${map.tokens} columns=${map.tokens}
        values=${map.values} first=${selected[1] * map.shape[1] * map.shape[2]} label=${`Attention of layer ${selected[0]}, head ${selected[1]}`} />`}</div>`
      : seen === null ? null : html`<p class="hint">This model mixes its tokens by a Fourier transform and has no attention to show.</p>`}
  </section>`;
}

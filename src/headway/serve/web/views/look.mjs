/** Look: what each head of each layer reads, what the layers would say, and what changes where heads are silent. */
import { messageOf } from "../api.mjs";
import { percent } from "../parts/bars.mjs";
import { Select, TextArea, Trouble } from "../parts/fields.mjs";
import { HeadLarge, Thumbnails, probabilitiesOf } from "../parts/maps.mjs";
import { Tokens, spoken } from "../parts/tokens.mjs";
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";

export const title = "Look";
const TEXT = "The king said that the king was dead, and that the king was alive.";

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, models, state, setState }) {
  const names = models.filter((model) => ["write", "fill", "classify", "tag", "answer", "embed"].some((verb) => model.headway.verbs.includes(verb))).map((model) => model.id);
  const model = state.model ?? names[0] ?? "";
  const text = state.text ?? TEXT;
  const [seen, setSeen] = useState(/** @type {any} */ (null));
  const [maps, setMaps] = useState(/** @type {Record<string, any>} */ ({}));
  const [selected, setSelected] = useState(/** @type {[number, number]} */ ([0, 0]));
  const [off, setOff] = useState(/** @type {Set<string>} */ (new Set()));
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const latest = useRef(0);

  /** @param {Set<string>} silent */
  function look(silent) {
    const number = (latest.current += 1);
    setBusy(true);
    setTrouble("");
    const ablate = [...silent].map((one) => one.split(".").map(Number));
    api.post("/v1/inspect", { model, text, thumbnails: 24, logit_lens: 3, contributions: true, heads: true, ablate }).then(
      (answer) => {
        if (number === latest.current) {
          setSeen(answer);
          setMaps({});
          setBusy(false);
        }
      },
      (error) => {
        if (number === latest.current) {
          setTrouble(messageOf(error));
          setBusy(false);
        }
      },
    );
  }
  useEffect(() => {
    setOff(new Set());
    setSelected([0, 0]);
    look(new Set());
  }, [model]);

  const layer = String(selected[0]);
  useEffect(() => {
    if (seen === null || !seen.attends.includes(selected[0]) || maps[layer] !== undefined) {
      return;
    }
    const ablate = [...off].map((one) => one.split(".").map(Number));
    api.post("/v1/inspect", { model, text, attention: [selected[0]], encoding: "u16", ablate }).then(
      (answer) => setMaps((before) => ({ ...before, [layer]: { shape: answer.attention[layer].shape, values: probabilitiesOf(answer.attention[layer].data) } })),
      (error) => setTrouble(messageOf(error)),
    );
  }, [seen, layer]);

  /** @param {string[]} heads */
  function toggle(heads) {
    const next = new Set(off);
    const all = heads.every((one) => next.has(one));
    heads.forEach((one) => (all ? next.delete(one) : next.add(one)));
    setOff(next);
    look(next);
  }

  const map = maps[layer];
  const names_of_layer = Array.from({ length: seen?.n_heads ?? 0 }, (_, head) => `${layer}.${head}`);
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); look(off); }}>
      <${Select} id="look-model" label="Model" value=${model} options=${names} onChange=${(/** @type {string} */ name) => setState({ model: name })} />
      <${TextArea} id="look-text" label="Text" value=${text} rows=${3} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${() => look(off)} />
      <button class="main" type="submit" disabled=${busy}>${busy ? "Looking" : "Look"}</button>
    </form>
    <${Trouble} message=${trouble} />
    ${seen === null ? null : html`
      <h2>Tokens</h2>
      <${Tokens} tokens=${seen.tokens.map((/** @type {any} */ one, /** @type {number} */ at) => ({ ...one, surprise: seen.surprise?.[at] ?? null }))} label="The text's tokens" busy=${busy} />
      ${Object.entries(seen.notes ?? {}).map(([name, note]) => html`<p class="hint" key=${name}>${name}: ${String(note)}</p>`)}
      ${seen.thumbnails ? html`
        <h2>All heads of all layers</h2>
        <div class="look-heads">
          <div><${Thumbnails} layers=${seen.thumbnails.shape[0]} heads=${seen.thumbnails.shape[1]} side=${seen.thumbnails.side} data=${seen.thumbnails.data}
            selected=${selected} off=${off} onSelect=${(/** @type {number} */ to, /** @type {number} */ head) => setSelected([to, head])} />
            <p class="hint">Rows are layers, columns heads; arrow keys move. Each map is scaled by its own maximum.</p></div>
          <div>
            <h3>Layer ${selected[0]}, head ${selected[1]}</h3>
            <p><button type="button" aria-pressed=${off.has(`${layer}.${selected[1]}`) ? "true" : "false"} onClick=${() => toggle([`${layer}.${selected[1]}`])}>Switch this head off</button>
              ${" "}<button type="button" aria-pressed=${names_of_layer.every((one) => off.has(one)) ? "true" : "false"} onClick=${() => toggle(names_of_layer)}>Switch layer ${layer} off</button></p>
            ${map === undefined ? html`<p class="waiting">Fetching layer ${layer}.</p>` : html`<${HeadLarge}
              rows=${seen.tokens.map((/** @type {any} */ one) => one.text)} columns=${seen.tokens.map((/** @type {any} */ one) => one.text)}
              values=${map.values} first=${selected[1] * map.shape[1] * map.shape[2]} label=${`Attention of layer ${layer}, head ${selected[1]}`} />`}
          </div>
        </div>
        <${Kinds} heads=${seen.heads} onSelect=${(/** @type {number} */ to, /** @type {number} */ head) => setSelected([to, head])} />` : null}
      <${Next} seen=${seen} />
      <${Lens} lens=${seen.logit_lens} tokens=${seen.tokens} />
      <${Contributions} found=${seen.contributions} tokens=${seen.tokens} />`}
  </section>`;
}

/** @param {{heads: any, onSelect: (layer: number, head: number) => void}} props */
function Kinds({ heads, onSelect }) {
  if (!heads) {
    return null;
  }
  const kinds = [["previous", "reads the token before"], ["first", "reads the first token"], ["repeat", "reads what followed last time"]];
  return html`<h2>Heads that have a habit</h2><table><thead><tr><th>habit</th><th>strongest heads, layer.head</th></tr></thead><tbody>
    ${kinds.map(([kind, words]) => {
      const all = /** @type {any[]} */ (heads[kind ?? ""] ?? []).flatMap((row, layer) => (row ?? []).map((/** @type {number} */ value, /** @type {number} */ head) => ({ layer, head, value })));
      const best = all.filter((one) => typeof one.value === "number").sort((one, two) => two.value - one.value).slice(0, 4);
      return html`<tr key=${kind}><th scope="row">${words}</th><td>${best.map((one) => html`<button type="button" class="plain" key=${`${one.layer}.${one.head}`}
        onClick=${() => onSelect(one.layer, one.head)}>${one.layer}.${one.head}</button> ${(one.value * 100).toFixed(0)} % ${" "}`)}</td></tr>`;
    })}</tbody></table>
    <p class="hint">Mean attention to that place, 0 to 100 %. Repeats are measured on ${heads.repeat_measured_on === "text" ? "this text" : "random tokens said twice"}.</p>`;
}

/** @param {{seen: any}} props */
function Next({ seen }) {
  const now = seen.next ?? seen.masks?.[0]?.top ?? null;
  const before = seen.without_ablation?.next ?? seen.without_ablation?.masks?.[0]?.top ?? null;
  if (now === null) {
    return null;
  }
  return html`<h2>${seen.next ? "What would follow" : "Behind the mask"}</h2><table><thead><tr><th>token</th><th class="number">probability</th>
    ${before === null ? null : html`<th class="number">with all heads</th>`}</tr></thead><tbody>
    ${now.map((/** @type {any} */ one) => html`<tr key=${one.id}><td>${spoken(one.text)}</td><td class="number">${percent(one.probability)}</td>
      ${before === null ? null : html`<td class="number">${percent(before.find((/** @type {any} */ other) => other.id === one.id)?.probability ?? 0)}</td>`}</tr>`)}
  </tbody></table>`;
}

/** @param {{lens: any, tokens: any[]}} props */
function Lens({ lens, tokens }) {
  if (!lens) {
    return null;
  }
  return html`<h2>Logit lens: what each layer would say</h2><div class="scrolls"><table class="lens"><thead><tr><th>after</th>
    ${tokens.map((one, at) => html`<th key=${at}>${spoken(one.text)}</th>`)}</tr></thead><tbody>
    ${[...lens.layers].map((/** @type {string} */ name, /** @type {number} */ at) => html`<tr key=${name}><th scope="row">${name}</th>
      ${lens.top[at].map((/** @type {any[]} */ best, /** @type {number} */ place) => html`<td key=${place}
        title=${best.map((one) => `${spoken(one.text)} ${percent(one.probability)}`).join(", ")}>${spoken(best[0].text)}<br /><span class="hint">${percent(best[0].probability)}</span></td>`)}</tr>`)}
  </tbody></table></div>`;
}

/** @param {{found: any, tokens: any[]}} props */
function Contributions({ found, tokens }) {
  if (!found) {
    return null;
  }
  const at = tokens.length - 1;
  const rows = [{ name: "embedding", value: found.embedding[at] }];
  found.layers.forEach((/** @type {string} */ name, /** @type {number} */ layer) => {
    rows.push({ name: `layer ${name}, attention`, value: found.attention[layer]?.[at] }, { name: `layer ${name}, feed-forward`, value: found.feed_forward[layer]?.[at] });
  });
  const most = Math.max(...rows.map((one) => Math.abs(one.value ?? 0)), 1e-6);
  return html`<h2>What each part adds to the last position's logit</h2><div class="scrolls"><table><tbody>
    ${rows.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th><td class="number">${(one.value ?? 0).toFixed(2)}</td>
      <td class="wide"><div class=${`part${(one.value ?? 0) < 0 ? " against" : ""}`} style=${{ width: `${(100 * Math.abs(one.value ?? 0)) / most}%` }}></div></td></tr>`)}</tbody></table></div>`;
}

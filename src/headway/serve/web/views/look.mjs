/** Look: what each head of each layer reads, what the layers would say, and what changes where heads are silent. */
import { messageOf } from "../api.mjs";
import { percent } from "../parts/bars.mjs";
import { Select, TextArea, Trouble, doing } from "../parts/fields.mjs";
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
  const [selected, setSelected] = useState(placeOf(state.head));
  const [off, setOff] = useState(() => new Set((state.off ?? "").match(/\d+\.\d+/g) ?? []));
  const [position, setPosition] = useState(/** @type {number | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const latest = useRef(0);
  const shownModel = useRef(model);

  /** @param {Set<string>} silent */
  function look(silent) {
    const number = (latest.current += 1);
    setBusy(true);
    setTrouble("");
    const ablate = [...silent].map((one) => one.split(".").map(Number));
    api.post("/v1/inspect", { model, text, thumbnails: 24, top: 50, ablate }).then(
      (answer) => {
        if (number === latest.current) {
          setSeen(answer);
          if (answer.attends.length > 0 && !(answer.attends.includes(selected[0]) && selected[1] < answer.n_heads)) {
            setSelected([answer.attends[0], 0]);
          }
          setMaps({});
          setPosition(null);
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
    if (shownModel.current === model) {
      look(off);
      return;
    }
    shownModel.current = model;
    setOff(new Set());
    setSelected([0, 0]);
    setState({ head: "", off: "" });
    look(new Set());
  }, [model]);

  /** @param {number} to @param {number} head */
  function choose(to, head) {
    setSelected([to, head]);
    setState({ head: `${to}.${head}` });
  }

  const layer = String(selected[0]);
  useEffect(() => {
    if (seen === null || !seen.attends.includes(selected[0]) || maps[layer] !== undefined) {
      return;
    }
    const ablate = [...off].map((one) => one.split(".").map(Number));
    // By ids, since the field may hold another text by now.
    const ids = seen.tokens.map((/** @type {any} */ one) => one.id);
    let late = false; // the map of another text, or of a model with other heads, is not this one's
    api.post("/v1/inspect", { model, ids, attention: [selected[0]], encoding: "u16", ablate }).then(
      (answer) => late || setMaps((before) => ({ ...before, [layer]: { shape: answer.attention[layer].shape, values: probabilitiesOf(answer.attention[layer].data) } })),
      (error) => late || setTrouble(messageOf(error)),
    );
    return () => { late = true; };
  }, [seen?.tokens, layer]);

  // What takes a model of many layers longer comes after the maps.
  useEffect(() => {
    if (seen === null) {
      return;
    }
    const number = latest.current;
    const ablate = [...off].map((one) => one.split(".").map(Number));
    const ids = seen.tokens.map((/** @type {any} */ one) => one.id);
    api.post("/v1/inspect", { model, ids, logit_lens: 3, contributions: true, heads: true, ablate }).then(
      ({ logit_lens, contributions, heads, notes }) => {
        if (number === latest.current) {
          setSeen((/** @type {any} */ before) => ({ ...before, logit_lens, contributions, heads, notes: { ...before.notes, ...notes } }));
        }
      },
      (error) => {
        if (number === latest.current) {
          setTrouble(messageOf(error));
        }
      },
    );
  }, [seen?.tokens]);

  /** @param {string[]} heads */
  function toggle(heads) {
    const next = new Set(off);
    const all = heads.every((one) => next.has(one));
    heads.forEach((one) => (all ? next.delete(one) : next.add(one)));
    setOff(next);
    setState({ off: [...next].join(",") });
    look(next);
  }

  /** @param {Event} event  of a button that goes away, so that the first beside it has the focus */
  function allOn(event) {
    /** @type {HTMLElement} */ (event.currentTarget).parentElement?.querySelector("button")?.focus();
    toggle([...off]);
  }

  const map = maps[layer];
  const head = `${layer}.${selected[1]}`;
  const namesOfLayer = Array.from({ length: seen?.n_heads ?? 0 }, (_, number) => `${layer}.${number}`);
  const attends = seen?.attends?.includes(selected[0]) ?? false;
  const texts = (seen?.tokens ?? []).map((/** @type {any} */ one) => one.text);
  return html`<section>
    <form class="asking" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); look(off); }}>
      <${TextArea} id="look-text" label="Text" value=${text} rows=${3} onChange=${(/** @type {string} */ value) => setState({ text: value })} onSubmit=${() => look(off)} />
      <div class="row"><${Select} id="look-model" label="Model" value=${model} options=${names} onChange=${(/** @type {string} */ name) => setState({ model: name })} />
        <button class="main" type="submit" ...${doing(busy)}>${busy ? "Looking" : "Look"}</button></div>
    </form>
    <${Trouble} message=${trouble} />
    <p class="unseen" role="status">${busy ? "Looking into the model." : heard(seen)}</p>
    ${seen === null ? (trouble === "" ? html`<p class="waiting" aria-hidden="true">Looking into the model.</p>` : null) : html`
      <h2>Tokens</h2>
      <p class="hint">Pick a token to see what the layers make of that place; arrow keys move between them.</p>
      <${Tokens} tokens=${seen.tokens.map((/** @type {any} */ one, /** @type {number} */ at) => ({ ...one, surprise: seen.surprise?.[at] ?? null }))} label="The text's tokens" boxed=${true} busy=${busy}
        selected=${position} onSelect=${(/** @type {number} */ at) => setPosition(at === position ? null : at)} />
      ${Object.entries(seen.notes ?? {}).filter(([name]) => name !== "contributions").map(([name, note]) => html`<p class="hint" key=${name}>${name}: ${String(note)}</p>`)}
      ${seen.thumbnails ? html`
        <h2>All heads of all layers</h2>
        <div class="look-heads">
          <div><${Thumbnails} layers=${seen.thumbnails.shape[0]} heads=${seen.thumbnails.shape[1]} side=${seen.thumbnails.side} data=${seen.thumbnails.data}
            attends=${seen.attends} selected=${selected} off=${off} onSelect=${choose} />
            <p class="hint">Rows are layers, columns heads; arrow keys move. Each map is scaled by its own maximum.</p>
            <${Kinds} heads=${seen.heads} onSelect=${choose} /></div>
          <div>
            <h3>Layer ${selected[0]}, head ${selected[1]}</h3>
            <div class="row actions"><button type="button" aria-pressed=${off.has(head) ? "true" : "false"} ...${doing(!attends, () => toggle([head]))}>Switch this head off</button>
              <button type="button" aria-pressed=${namesOfLayer.every((one) => off.has(one)) ? "true" : "false"} ...${doing(!attends, () => toggle(namesOfLayer))}>Switch layer ${layer} off</button>
              ${off.size === 0 ? null : html`<button type="button" onClick=${allOn}>All on again</button>`}</div>
            <p class="hint" role="status">${off.size === 0 ? "" : `${off.size} ${off.size === 1 ? "head is" : "heads are"} off; everything here is the model without ${off.size === 1 ? "it" : "them"}.`}</p>
            ${!attends ? html`<p class="empty">Layer ${layer} mixes its tokens without attention; the view Fourier shows such layers.</p>`
              : map === undefined ? html`<p class="waiting">Fetching layer ${layer}.</p>` : html`<${HeadLarge} rows=${texts} columns=${texts}
              values=${map.values} first=${selected[1] * map.shape[1] * map.shape[2]} label=${`Attention of layer ${layer}, head ${selected[1]}`} />`}
          </div>
        </div>` : null}
      <div class="two-columns even apart"><div><${Next} seen=${seen} /></div>
        <div><${Contributions} found=${seen.contributions} note=${seen.notes?.contributions} tokens=${seen.tokens} position=${position} /></div></div>
      <${Lens} lens=${seen.logit_lens} tokens=${seen.tokens} position=${position} fills=${seen.next === null} />`}
  </section>`;
}

/**
 * What was found, for those who do not see it.
 * @param {any} seen
 */
function heard(seen) {
  if (seen === null) {
    return "";
  }
  const next = seen.next?.[0] ?? seen.masks?.[0]?.top?.[0];
  const follows = next === undefined ? "" : ` Most likely ${seen.next ? "next" : "behind the mask"}: ${spoken(next.text)}, ${percent(next.probability)}.`;
  return `${seen.tokens.length} tokens looked at.${follows}`;
}

/**
 * A layer and a head out of a link.
 * @param {string | undefined} text
 * @returns {[number, number]}
 */
function placeOf(text) {
  const found = /^(\d{1,3})\.(\d{1,3})$/.exec(text ?? "");
  return found === null ? [0, 0] : [Number(found[1]), Number(found[2])];
}

/** @param {{heads: any, onSelect: (layer: number, head: number) => void}} props */
function Kinds({ heads, onSelect }) {
  if (!heads) {
    return null;
  }
  const kinds = [["previous", "reads the token before"], ["first", "reads the first token"], ["repeat", "reads what followed last time"]];
  return html`<h3>Heads that have a habit</h3><table class="kinds"><thead><tr><th>habit</th><th>strongest heads, layer.head</th></tr></thead><tbody>
    ${kinds.map(([kind, words]) => {
      const all = /** @type {any[]} */ (heads[kind ?? ""] ?? []).flatMap((row, layer) => (row ?? []).map((/** @type {number} */ value, /** @type {number} */ head) => ({ layer, head, value })));
      const best = all.filter((one) => typeof one.value === "number").sort((one, two) => two.value - one.value).slice(0, 4);
      return html`<tr key=${kind}><th scope="row">${words}</th><td>${best.map((one) => html`<span class="kind" key=${`${one.layer}.${one.head}`}><button type="button" class="plain"
        aria-label=${`${one.layer}.${one.head}: layer ${one.layer}, head ${one.head}, ${words}`} onClick=${() => onSelect(one.layer, one.head)}>${one.layer}.${one.head}</button> ${(one.value * 100).toFixed(0)} %</span> `)}</td></tr>`;
    })}</tbody></table>
    <p class="hint">Mean attention to that place, 0 to 100 %. Repeats are measured on ${heads.repeat_measured_on === "text" ? "this text" : "random tokens said twice"}.</p>`;
}

const FOLLOWERS = 10;

/** @param {{seen: any}} props */
function Next({ seen }) {
  const now = seen.next ?? seen.masks?.[0]?.top ?? null;
  const before = seen.without_ablation?.next ?? seen.without_ablation?.masks?.[0]?.top ?? null;
  if (now === null || now.length === 0) {
    return null;
  }
  /** @param {any[]} all @param {number} id */
  const chance = (all, id) => /** @type {number | undefined} */ (all.find((one) => one.id === id)?.probability);
  const shownOnes = [...now.slice(0, before === null ? FOLLOWERS : FOLLOWERS / 2)];
  for (const one of before ?? []) {
    if (shownOnes.length < FOLLOWERS && chance(shownOnes, one.id) === undefined) {
      shownOnes.push({ ...one, probability: chance(now, one.id) });
    }
  }
  /** @param {number | undefined} value @param {any[]} all  where it is not among them, it is below their least */
  const said = (value, all) => (value === undefined ? `< ${percent(all[all.length - 1].probability)}` : percent(value));
  const most = Math.max(now[0].probability, before?.[0]?.probability ?? 0, 1e-9);
  return html`<h2>${seen.next ? "What would follow" : "Behind the mask"}</h2>
    ${before === null ? null : html`<p class="legend"><span><span class="bar-sample own"></span> with all heads</span> <span><span class="bar-sample kept"></span> without those switched off</span></p>`}
    <div class="scrolls"><table class="bars-table"><thead><tr><th>token</th><td aria-hidden="true"></td><th class="number">${before === null ? "probability" : "now"}</th>
    ${before === null ? null : html`<th class="number">all heads</th>`}</tr></thead><tbody>
    ${shownOnes.map((/** @type {any} */ one) => html`<tr key=${one.id}><td>${spoken(one.text)}</td>
      <td class="wide" aria-hidden="true"><span class="bar-track">${before === null ? null : html`<span class="bar-own" style=${{ width: `${(100 * (chance(before, one.id) ?? 0)) / most}%` }}></span>`}
        <span class="bar-kept" style=${{ width: `${(100 * (one.probability ?? 0)) / most}%` }}></span></span></td>
      <td class="number">${said(one.probability, now)}</td>
      ${before === null ? null : html`<td class="number">${said(chance(before, one.id), before)}</td>`}</tr>`)}
  </tbody></table></div>`;
}

/** @param {{lens: any, tokens: any[], position: number | null, fills: boolean}} props */
function Lens({ lens, tokens, position, fills }) {
  if (!lens) {
    return null;
  }
  return html`<h2>Logit lens: what each layer would say</h2>
    <p class="hint">${fills ? "What the stream after each layer would put in each place, as if it were the last." : "What the stream after each layer would have follow each token, as if it were the last layer."} Stronger colour: surer.</p>
    <div class="scrolls" tabindex="0" role="region" aria-label="Logit lens"><table class="lens"><thead><tr><th scope="col">after</th>
    ${tokens.map((one, at) => html`<th key=${at} scope="col" class=${at === position ? "now" : ""}>${spoken(one.text)}</th>`)}</tr></thead><tbody>
    ${[...lens.layers].map((/** @type {string} */ name, /** @type {number} */ at) => html`<tr key=${name}><th scope="row">${/^\d+$/.test(name) ? `layer ${name}` : name}</th>
      ${lens.top[at].map((/** @type {any[]} */ best, /** @type {number} */ place) => html`<td key=${place}
        class=${`read-${Math.min(6, Math.round(best[0].probability * 6))}${place === position ? " now" : ""}`}
        title=${best.map((one) => `${spoken(one.text)} ${percent(one.probability)}`).join(", ")}>${spoken(best[0].text)}<br /><span class="small">${percent(best[0].probability)}</span></td>`)}</tr>`)}
  </tbody></table></div>`;
}

/** @param {{found: any, note: string | undefined, tokens: any[], position: number | null}} props  note: why there are none */
function Contributions({ found, note, tokens, position }) {
  if (!found) {
    return note === undefined ? null : html`<h2>What each part adds</h2><p class="empty">${note.charAt(0).toUpperCase()}${note.slice(1)}.</p>`;
  }
  const at = position ?? tokens.length - 1;
  const rows = [{ name: "embedding", value: found.embedding[at] }];
  found.layers.forEach((/** @type {string} */ name, /** @type {number} */ layer) => {
    rows.push({ name: `layer ${name}, attention`, value: found.attention[layer]?.[at] }, { name: `layer ${name}, feed-forward`, value: found.feed_forward[layer]?.[at] });
  });
  const most = Math.max(...rows.map((one) => Math.abs(one.value ?? 0)), 1e-6);
  const target = found.targets?.[at]?.text;
  return html`<h2>What each part adds to ${position === null ? "the last position's" : "this position's"} logit</h2>
    <p class="hint">${target === undefined ? "" : html`For <q>${spoken(target)}</q> after <q>${spoken(tokens[at]?.text ?? "")}</q>. `}
      <span class="kind"><span class="part-sample"></span> speaks for it,</span> <span class="kind"><span class="part-sample against"></span> against.</span></p>
    <div class="scrolls"><table class="bars-table"><tbody>
    ${rows.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th><td class="number">${(one.value ?? 0).toFixed(2)}</td>
      <td class="wide"><div class=${`part${(one.value ?? 0) < 0 ? " against" : ""}`} style=${{ width: `${(100 * Math.abs(one.value ?? 0)) / most}%` }}></div></td></tr>`)}</tbody></table></div>`;
}

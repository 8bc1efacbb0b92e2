/** A row of tokens, coloured by how surprising each was, in bits; one can be selected. */
import { html, useEffect, useRef } from "../vendor/preact-htm.mjs";

const LONG = 80; // tokens; more of them fill a screen

const BESIDE = 12; // pixels

/** The upper edges of the colours, in bits. */
export const EDGES = [1, 2, 4, 6, 8, 11];

/**
 * A token as it is shown: line ends get a sign, since nothing else would show them.
 * @param {string} text
 * @returns {string}
 */
export function shown(text) {
  return text.replace(/\r?\n/g, "\u21b5\n").replace(/\t/g, "\u21e5\t");
}

/**
 * A token as it is called: blanks have names.
 * @param {string} text
 * @returns {string}
 */
export function spoken(text) {
  const named = text.replace(/\r?\n/g, " new line ").replace(/\t/g, " tab ").trim();
  if (named !== "") {
    return named;
  }
  return text === "" ? "empty" : "blank";
}

/**
 * @param {number | null | undefined} bits
 * @returns {string}  a class of style/parts.css
 */
export function surpriseClass(bits) {
  if (bits === null || bits === undefined || Number.isNaN(bits)) {
    return "surprise-none";
  }
  const at = EDGES.findIndex((edge) => bits < edge);
  return `surprise-${at < 0 ? EDGES.length : at}`;
}

/**
 * @param {object} props
 * @param {import("../types.mjs").TokenShown[]} props.tokens
 * @param {number | null} [props.selected]
 * @param {(at: number) => void} [props.onSelect]
 * @param {(at: number | null) => void} [props.onHover]
 * @param {string} props.label  what these tokens are, for a screen reader
 * @param {boolean} [props.legend]  false leaves the legend out
 * @param {boolean} [props.boxed]  a long text scrolls in a box of its own, for what stands below it
 * @param {boolean} [props.busy]
 * @param {(at: number) => {className: string, words: string}} [props.shade]  another colour than surprise's, and what it says
 */
export function Tokens({ tokens, selected = null, onSelect, onHover, label, legend = true, boxed = false, busy = false, shade = bySurprise(tokens) }) {
  const row = useRef(/** @type {HTMLElement | null} */ (null));
  const reachable = selected !== null && selected < tokens.length ? selected : 0;

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const at = Number(/** @type {HTMLElement} */ (event.target).dataset.at);
    const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tokens.length - 1 });
    const to = steps[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onSelect?.(at);
    } else if (to !== undefined) {
      event.preventDefault();
      const next = row.current?.querySelector(`[data-at="${Math.max(0, Math.min(tokens.length - 1, to))}"]`);
      if (next instanceof HTMLElement) {
        next.focus();
      }
    }
  }

  const long = boxed && tokens.length > LONG;
  useEffect(() => {
    const marked = long && selected !== null ? row.current?.querySelector(`[data-at="${selected}"]`) : null;
    if (row.current !== null && marked instanceof HTMLElement) {
      intoSight(row.current, marked);
    }
  }, [long, selected, tokens.length]);

  const surprises = tokens.some((token) => typeof token.surprise === "number");
  return html`<div class="tokens-box">
    <div class=${long ? "tokens long" : "tokens"} role="group" aria-label=${label} aria-busy=${busy ? "true" : "false"} ref=${row}
      onKeyDown=${onSelect === undefined ? undefined : onKey}
      onMouseLeave=${onHover === undefined ? undefined : () => onHover(null)}>
      ${tokens.map((token, at) => one(token, at, shade(at), at === selected, at === reachable, onSelect, onHover))}
    </div>
    ${legend && surprises ? html`<${Legend} given=${tokens.some((token) => token.given)} />` : null}
  </div>`;
}

/**
 * Scrolls a box, and nothing around it, until something in it is in sight.
 * @param {HTMLElement} box
 * @param {HTMLElement} inside
 */
function intoSight(box, inside) {
  const [frame, place] = [box.getBoundingClientRect(), inside.getBoundingClientRect()];
  // With a part of the next line, which says that there is one, and the ring around what is marked.
  box.scrollTop += Math.min(0, place.top - BESIDE - frame.top) + Math.max(0, place.bottom + BESIDE - frame.bottom);
}

/**
 * @param {import("../types.mjs").TokenShown[]} tokens
 * @returns {(at: number) => {className: string, words: string}}
 */
function bySurprise(tokens) {
  return (at) => {
    const bits = tokens[at]?.surprise;
    return { className: surpriseClass(bits), words: typeof bits === "number" ? `${bits.toFixed(1)} bits` : "" };
  };
}

/**
 * @param {import("../types.mjs").TokenShown} token
 * @param {number} at
 * @param {{className: string, words: string}} shade
 * @param {boolean} selected
 * @param {boolean} reachable  by the tab key; the arrow keys reach the others
 * @param {((at: number) => void) | undefined} onSelect
 * @param {((at: number | null) => void) | undefined} onHover
 */
function one(token, at, { className, words }, selected, reachable, onSelect, onHover) {
  const classes = `token ${className}${token.given ? " given" : ""}`;
  if (onSelect === undefined) {
    return html`<span key=${at} class=${classes} title=${words}
      onMouseEnter=${onHover === undefined ? undefined : () => onHover(at)}>${shown(token.text)}</span>`;
  }
  return html`<span key=${at} class=${`${classes} pickable`} role="button" data-at=${at} tabindex=${reachable ? 0 : -1}
    aria-pressed=${selected ? "true" : "false"} title=${words}
    aria-label=${words === "" ? spoken(token.text) : `${spoken(token.text)}, ${words}`}
    onClick=${() => onSelect(at)}
    onFocus=${onHover === undefined ? undefined : () => onHover(at)}
    onMouseEnter=${onHover === undefined ? undefined : () => onHover(at)}>${shown(token.text)}</span>`;
}

/**
 * What the colours mean, and the line under what was given.
 * @param {{given?: boolean}} props
 */
export function Legend({ given = false }) {
  const names = EDGES.map((edge, at) => (at === 0 ? `under ${edge}` : `${EDGES[at - 1]} to ${edge}`));
  names.push(`over ${EDGES[EDGES.length - 1]}`);
  return html`<p class="legend"><span class="legend-title">Surprise in bits:</span>
    ${names.map((name, at) => html`<span key=${at} class=${`legend-step surprise-${at}`}>${name}</span>`)}
    ${given ? html`<span class="legend-given">given</span>` : null}</p>`;
}

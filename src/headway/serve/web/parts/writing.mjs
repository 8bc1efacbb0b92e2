/** Continuations as they come: tokens with their surprise, and how fast. */

/**
 * How the next token is chosen; what is switched off stands at 0 (top-k, min-p) or 1 (top-p).
 * @typedef {object} Choosing
 * @property {number} temperature
 * @property {number} topK
 * @property {number} topP
 * @property {number} minP
 *
 * @typedef {object} Order
 * @property {string} model
 * @property {string | number[]} prompt
 * @property {number} most  new tokens
 * @property {number} seed
 * @property {Choosing} choosing
 * @property {boolean} [echo]  the prompt's own tokens come first, with their surprise
 *
 * @typedef {object} Written
 * @property {import("../types.mjs").TokenShown[]} prompt  empty without echo, and after the first
 * @property {import("../types.mjs").TokenShown[]} tokens  new ones
 * @property {string | null} finish
 *
 * @typedef {object} Speed
 * @property {number | null} first  milliseconds to the first token
 * @property {number | null} rate  tokens a second after it; null where they came too soon to tell
 * @property {number} count
 * @property {number} whole  milliseconds to the latest token
 */

/**
 * The fields of a request that a choice needs.
 * @param {Choosing} choosing
 * @returns {Record<string, number>}
 */
export function choiceFields({ temperature, topK, topP, minP }) {
  /** @type {Record<string, number>} */
  const fields = { temperature };
  if (topK > 0) {
    fields["top_k"] = topK;
  }
  if (topP < 1) {
    fields["top_p"] = topP;
  }
  if (minP > 0) {
    fields["min_p"] = minP;
  }
  return fields;
}

/**
 * Bits from a natural logarithm of a probability.
 * @param {number | null | undefined} logprob
 * @returns {number | null}
 */
export function bitsOf(logprob) {
  return typeof logprob === "number" ? Math.max(0, -logprob / Math.LN2) : null;
}

const TELLING = 300; // milliseconds: over less, how tokens happened to come together is most of their rate
const TOGETHER = 30; // milliseconds: what comes within them is shown at once, for each time the whole text is drawn

/**
 * The pieces of a continuation; those that come quickly one after another come as one.
 * @param {import("../api.mjs").Api} api
 * @param {Order} order
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Written, void, void>}
 */
export async function* written(api, order, signal) {
  const source = pieces(api, order, signal);
  let held = /** @type {Written | null} */ (null);
  let given = -TOGETHER;
  try {
    let coming = source.next();
    for (;;) {
      const left = given + TOGETHER - performance.now();
      if (held !== null && left <= 0) {
        const all = held;
        held = null;
        yield all;
        given = performance.now();
      }
      /** @type {IteratorResult<Written, void> | undefined} */
      const came = await (held === null ? coming : Promise.race([coming, after(left)]));
      if (came === undefined) {
        continue;
      }
      if (came.done === true) {
        break;
      }
      coming = source.next();
      /** @type {Written} */
      const piece = came.value;
      held = held === null ? piece
        : { prompt: [...held.prompt, ...piece.prompt], tokens: [...held.tokens, ...piece.tokens], finish: piece.finish ?? held.finish };
    }
  } catch (error) {
    if (held !== null) {
      yield held; // what came before the error is shown
    }
    throw error;
  }
  if (held !== null) {
    yield held;
  }
}

/**
 * @param {number} milliseconds
 * @returns {Promise<undefined>}
 */
function after(milliseconds) {
  return new Promise((done) => { setTimeout(() => done(undefined), milliseconds); });
}

/**
 * @param {import("../api.mjs").Api} api
 * @param {Order} order
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Written, void, void>}
 */
async function* pieces(api, { model, prompt, most, seed, choosing, echo = false }, signal) {
  const body = { model, prompt, max_tokens: most, seed, stream: true, logprobs: 0, echo, ...choiceFields(choosing) };
  for await (const event of api.events("/v1/completions", body, { signal })) {
    const choice = event.choices[0];
    if (choice === undefined) {
      continue;
    }
    /** @type {string[]} */
    const texts = choice.logprobs?.tokens ?? [];
    /** @type {Array<number | null>} */
    const logprobs = choice.logprobs?.token_logprobs ?? [];
    const given = texts.length - choice.ids.length;
    const tokens = texts.map((text, at) => ({
      text,
      surprise: bitsOf(logprobs[at]),
      ...(at < given ? { given: true } : { id: choice.ids[at - given] }),
    }));
    yield { prompt: tokens.slice(0, given), tokens: tokens.slice(given), finish: choice.finish_reason };
  }
}

/** A clock for a stream. */
export class Clock {
  constructor() {
    this.began = performance.now();
    /** @type {number | null} */
    this.first = null;
    this.latest = this.began;
    this.count = 0;
    this.atOnce = 0; // came with the first, and say nothing of the speed after it
  }

  /** @param {number} tokens  that came just now */
  tick(tokens) {
    if (tokens === 0) {
      return;
    }
    this.latest = performance.now();
    if (this.first === null) {
      this.first = this.latest;
      this.atOnce = tokens;
    }
    this.count += tokens;
  }

  /** @returns {Speed} */
  speed() {
    const first = this.first === null ? null : this.first - this.began;
    const whole = this.latest - this.began;
    const rest = whole - (first ?? whole);
    return { first, rate: rest < TELLING ? null : (1000 * (this.count - this.atOnce)) / rest, count: this.count, whole };
  }
}

/**
 * @param {Speed | null} speed
 * @returns {string}
 */
export function speedInWords(speed) {
  if (speed === null || speed.first === null) {
    return "";
  }
  const { first, rate, count, whole } = speed;
  if (rate === null) {
    return `${count} tokens in ${whole.toFixed(0)} ms, ${perSecond((1000 * count) / Math.max(1, whole))}; the first after ${first.toFixed(0)} ms`;
  }
  return `${count} tokens; the first after ${first.toFixed(0)} ms, then ${perSecond(rate)}`;
}

/** @param {number} rate */
function perSecond(rate) {
  return `${rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en")} tokens a second`;
}

/**
 * The mean surprise of tokens in bits; null where none has one.
 * @param {import("../types.mjs").TokenShown[]} tokens
 * @returns {number | null}
 */
export function meanSurprise(tokens) {
  const bits = tokens.flatMap((token) => (typeof token.surprise === "number" ? [token.surprise] : []));
  return bits.length === 0 ? null : bits.reduce((sum, one) => sum + one, 0) / bits.length;
}

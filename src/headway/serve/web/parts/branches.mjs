/** The tree of continuations: each branch holds its whole row of tokens, and where it left its parent. */
import { useRef, useState } from "../vendor/preact-htm.mjs";
import { messageOf } from "../api.mjs";
import { Clock, written } from "./writing.mjs";

/**
 * @typedef {object} Branch
 * @property {number} number
 * @property {number | null} parent
 * @property {number} at  the first token that the parent does not have
 * @property {import("../types.mjs").TokenShown[]} tokens
 *
 * @typedef {object} Tree
 * @property {Branch[]} branches
 * @property {number} current
 */

/** @type {Tree} */
const EMPTY = { branches: [], current: 0 };

/**
 * A tree that a model writes into.
 * @param {import("../api.mjs").Api} api
 */
export function useBranches(api) {
  const [tree, setTree] = useState(EMPTY);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const [speed, setSpeed] = useState(/** @type {import("./writing.mjs").Speed | null} */ (null));
  const [ended, setEnded] = useState("");
  const running = useRef(/** @type {AbortController | null} */ (null));
  const latest = useRef(tree);

  /** @param {Tree} next */
  function show(next) {
    latest.current = next;
    setTree(next);
  }

  function stop() {
    running.current?.abort();
  }

  /** Nothing is written yet. */
  function reset() {
    stop();
    show(EMPTY);
    setSpeed(null);
    setEnded("");
    setTrouble("");
  }

  /** @param {number} number */
  function choose(number) {
    show({ ...latest.current, current: number });
  }

  /**
   * A new root, whose prompt is told with its surprise first.
   * @param {import("./writing.mjs").Order} order
   */
  async function begin(order) {
    await run(async (signal, clock) => {
      const { tokens } = await api.post("/v1/tokenize", { model: order.model, text: String(order.prompt) }, { signal });
      const given = tokens.map((/** @type {{id: number, text: string}} */ token) => ({ ...token, given: true, surprise: null }));
      show({ branches: [{ number: 0, parent: null, at: 0, tokens: given }], current: 0 });
      await grow(0, order, { ...order, echo: given.length > 0 }, signal, clock);
    });
  }

  /**
   * A branch that leaves the current one at a token, with another in its place, and goes on from there.
   * @param {number} at
   * @param {import("../types.mjs").TokenShown} token
   * @param {import("./writing.mjs").Order} order
   */
  async function branch(at, token, order) {
    const { branches, current } = latest.current;
    const from = branches.find((one) => one.number === current);
    if (from === undefined) {
      return;
    }
    const number = Math.max(...branches.map((one) => one.number)) + 1;
    const tokens = [...from.tokens.slice(0, at), token];
    show({ branches: [...branches, { number, parent: current, at, tokens }], current: number });
    await run((signal, clock) => grow(number, order, order, signal, clock));
  }

  /**
   * One more token at the end of the current branch, chosen by hand.
   * @param {import("../types.mjs").TokenShown} token
   */
  function append(token) {
    add(latest.current.current, [token]);
  }

  /**
   * The current branch goes on from its end.
   * @param {import("./writing.mjs").Order} order
   */
  async function goOn(order) {
    await run((signal, clock) => grow(latest.current.current, order, order, signal, clock));
  }

  /**
   * @param {number} number
   * @param {import("../types.mjs").TokenShown[]} tokens
   */
  function add(number, tokens) {
    const { branches, current } = latest.current;
    show({
      branches: branches.map((one) => (one.number === number ? { ...one, tokens: [...one.tokens, ...tokens] } : one)),
      current,
    });
  }

  /**
   * @param {number} number
   * @param {import("./writing.mjs").Order} order
   * @param {import("./writing.mjs").Order} first  what is asked, but for the prompt
   * @param {AbortSignal} signal
   * @param {Clock} clock
   */
  async function grow(number, order, first, signal, clock) {
    const own = latest.current.branches.find((one) => one.number === number);
    const ids = (own?.tokens ?? []).flatMap((token) => (token.id === undefined ? [] : [token.id]));
    const prompt = ids.length === 0 ? "" : ids;
    for await (const piece of written(api, { ...first, model: order.model, prompt }, signal)) {
      if (piece.prompt.length > 0) {
        score(number, piece.prompt);
      }
      clock.tick(piece.tokens.length);
      add(number, piece.tokens);
      setSpeed(clock.speed());
      if (piece.finish !== null) {
        setEnded(piece.finish === "length" ? "Stopped at the length asked for." : "The model ended the text.");
      }
    }
  }

  /**
   * @param {number} number
   * @param {import("../types.mjs").TokenShown[]} scored
   */
  function score(number, scored) {
    const { branches, current } = latest.current;
    show({
      branches: branches.map((one) =>
        one.number !== number
          ? one
          : { ...one, tokens: one.tokens.map((token, at) => ({ ...token, surprise: scored[at]?.surprise ?? token.surprise })) },
      ),
      current,
    });
  }

  /** @param {(signal: AbortSignal, clock: Clock) => Promise<void>} work */
  async function run(work) {
    running.current?.abort();
    const own = new AbortController();
    running.current = own;
    setBusy(true);
    setTrouble("");
    setEnded("");
    setSpeed(null);
    try {
      await work(own.signal, new Clock());
    } catch (error) {
      if (running.current === own) {
        setTrouble(messageOf(error));
      }
    } finally {
      if (running.current === own) {
        setBusy(false);
      }
    }
  }

  return { tree, busy, trouble, speed, ended, begin, branch, append, goOn, stop, choose, reset };
}

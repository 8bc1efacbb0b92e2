/** Learn: pasted text trains a tiny writer for a minute or two, while its loss, samples and a head are watched. */
import { ApiError, messageOf } from "../api.mjs";
import { Curve } from "../parts/curve.mjs";
import { NumberField, Slider, TextArea, Trouble, doing } from "../parts/fields.mjs";
import { HeadPicture } from "../parts/head-picture.mjs";
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.mjs";

export const title = "Learn";

const LEAST_BYTES = 1000;
const MOST_BYTES = 2_000_000;

/**
 * @typedef {object} Course  what a lesson has told so far
 * @property {Array<[number, number]>} bits  (step, bits a byte)
 * @property {Array<[number, number]>} aside  (step, bits a byte of the text kept aside)
 * @property {Array<{sample: string, prompt: string, at_step: number}>} samples
 * @property {Array<import("../parts/head-picture.mjs").Head>} heads
 * @property {Record<string, number> | null} model
 * @property {Record<string, number> | null} latest
 * @property {Record<string, number> | null} done
 * @property {string} error
 */
/** @type {Course} */
const NOTHING = { bits: [], aside: [], samples: [], heads: [], model: null, latest: null, done: null, error: "" };

/** @param {import("../types.mjs").ViewProps} props */
export function View({ api, state, setState, onModels }) {
  const [text, setText] = useState("");
  const [seconds, setSeconds] = useState(60);
  const [seed, setSeed] = useState(1);
  const [lesson, setLesson] = useState(state["lesson"] ?? "");
  const [course, setCourse] = useState(NOTHING);
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);
  const watching = useRef(/** @type {AbortController | null} */ (null));

  useEffect(() => {
    watching.current?.abort();
    setCourse(NOTHING);
    if (lesson === "") {
      return undefined;
    }
    const own = new AbortController();
    watching.current = own;
    watch(own.signal);
    return () => own.abort();
  }, [lesson]);

  /** @param {AbortSignal} signal */
  async function watch(signal) {
    try {
      for await (const event of api.events(`/v1/lessons/${encodeURIComponent(lesson)}/events`, undefined, { signal })) {
        setCourse((before) => taken(before, event));
      }
    } catch (error) {
      setCourse((before) => ({ ...before, error: messageOf(error) }));
      if (error instanceof ApiError && error.status === 404) {
        setState({ lesson: "" });
      }
    }
  }
  async function start() {
    setTrouble("");
    setBusy(true);
    try {
      const answer = await api.post("/v1/lessons", { text, seconds, seed });
      setState({ lesson: answer.id });
      setLesson(answer.id);
      focusSoon("lesson");
    } catch (error) {
      setTrouble(messageOf(error));
    }
    setBusy(false);
  }
  async function drop() {
    try {
      await api.remove(`/v1/lessons/${encodeURIComponent(lesson)}`);
    } catch (error) {
      setTrouble(messageOf(error));
    }
    setState({ lesson: "" });
    setLesson("");
    focusSoon("text");
  }
  const bytes = new TextEncoder().encode(text).length;
  const running = lesson !== "" && course.done === null && course.error === "";
  return html`
    ${lesson === "" ? html`<section aria-label="A text to learn">
      <${TextArea} id="text" label="A text to learn from" value=${text} onChange=${setText} rows=${8}
        hint=${`${bytes.toLocaleString("en")} bytes; from ${LEAST_BYTES.toLocaleString("en")} to ${MOST_BYTES.toLocaleString("en")}. More text teaches more; 100,000 are good for a minute.`} />
      <div class="row">
        <div class="field"><label for="file">Or a text file</label>
          <input id="file" type="file" accept="text/plain,.txt,.md" onChange=${(/** @type {Event} */ event) => {
            const file = /** @type {HTMLInputElement} */ (event.target).files?.[0];
            if (file !== undefined && file.size > MOST_BYTES) {
              setTrouble(`The file has ${file.size.toLocaleString("en")} bytes; a lesson takes at most ${MOST_BYTES.toLocaleString("en")}.`);
            } else {
              file?.text().then(setText, (error) => setTrouble(messageOf(error)));
            }
          }} /></div>
        <${Slider} id="seconds" label="Time" value=${seconds} least=${10} most=${120} step=${10}
          say=${(/** @type {number} */ value) => `${value} seconds`} onChange=${setSeconds} />
        <${NumberField} id="seed" label="Seed" value=${seed} least=${0} most=${2 ** 31} onChange=${setSeed} />
      </div>
      <div class="row actions"><button type="button" class="main" onClick=${start}
        disabled=${busy || bytes < LEAST_BYTES || bytes > MOST_BYTES}>Learn</button></div>
      <p class="hint">The text goes to this server only, into a process of its own; one lesson runs at a time. What the model
        learns stays in memory and on its disk until it is kept or dropped.</p>
    </section>` : null}
    <${Trouble} message=${trouble} />
    ${lesson === "" ? null : html`<section id="lesson" tabindex="-1" aria-label="The lesson">
      <${Status} course=${course} running=${running} />
      ${course.done === null ? null : html`<${Keep} api=${api} lesson=${lesson} onModels=${onModels} />`}
      <div class="row actions" data-export="no"><button type="button" onClick=${drop}>${running ? "Stop the lesson" : "Drop it and begin anew"}</button></div>
      <${Trouble} message=${course.error} />
      <${Watched} course=${course} />
    </section>`}`;
}

/**
 * The focus goes where the work goes on, once that is drawn: the button that led there is gone.
 * @param {string} id
 */
function focusSoon(id) {
  document.getElementById("main")?.focus(); // until then, for nothing must be without it
  requestAnimationFrame(() => document.getElementById(id)?.focus());
}

/** @param {{course: Course, running: boolean}} props */
function Status({ course, running }) {
  const { model, latest, done } = course;
  const size = model === null ? "" : `${Number(model["parameters"]).toLocaleString("en")} parameters in ${model["layers"]} layers of ${model["heads"]} heads; ${Number(model["text_bytes"]).toLocaleString("en")} bytes of text.`;
  const left = Math.ceil(Number(latest?.["seconds_left"] ?? 0));
  const now = latest === null ? "Preparing." : `Step ${latest["step"]}: ${fixed(latest["bits_per_byte"])} bits a byte, ${Math.round(Number(latest["tokens_per_s"])).toLocaleString("en")} tokens a second, about ${left === 1 ? "1 second" : `${left} seconds`} left.`;
  return html`<p class="figures">${size}</p>
    <p class="figures">${running ? now : ""}</p>
    <p role="status" class="figures">${done === null ? "" : `Learned in ${fixed(done["seconds"], 0)} seconds and ${done["steps"]} steps: ${fixed(done["bits_per_byte"])} bits a byte on text kept aside.`}</p>`;
}

/** @param {{course: Course}} props */
function Watched({ course }) {
  const series = [{ name: "while learning", points: course.bits }, { name: "text kept aside", points: course.aside }];
  const newest = course.samples[course.samples.length - 1];
  return html`<div class="two-columns even">
    <div><h2>How surprised it is</h2>
      ${course.bits.length < 2 ? html`<p class="empty">The curve begins after two steps.</p>`
        : html`<${Curve} series=${series.filter((one) => one.points.length > 0)} x="step" y="bits a byte" label="Bits a byte by step" />`}
      <h2>A head forms</h2>
      ${course.heads.length === 0 ? html`<p class="empty">The picture comes with the second look, after about ten seconds.</p>`
        : html`<${HeadPicture} heads=${course.heads} />`}</div>
    <div><h2>What it writes</h2>
      ${newest === undefined ? html`<p class="empty">Its first words come soon.</p>` : html`<ol class="samples">
        ${[...course.samples].reverse().map((one) => html`<li key=${one.at_step}><p class="hint">Step ${one.at_step}</p>
          <p class="sample"><strong>${one.prompt}</strong>${one.sample.slice(one.prompt.length)}</p></li>`)}</ol>`}
    </div>
  </div>`;
}

/** @param {{api: import("../api.mjs").Api, lesson: string, onModels: () => Promise<void>}} props */
function Keep({ api, lesson, onModels }) {
  const [name, setName] = useState("");
  const [said, setSaid] = useState("");
  const [trouble, setTrouble] = useState("");
  const [kept, setKept] = useState("");
  async function keep() {
    setTrouble("");
    try {
      const answer = await api.post(`/v1/lessons/${encodeURIComponent(lesson)}/keep`, { name });
      const called = String(answer.model ?? answer.name ?? answer.id ?? name);
      setKept(called);
      setSaid(`Kept as ${called}.`);
      await onModels();
    } catch (error) {
      setTrouble(messageOf(error));
    }
  }
  return html`<form class="row" data-export="no" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); keep(); }}>
      <div class="field"><label for="keep-name">Keep it under the name</label>
        <input id="keep-name" value=${name} maxlength="60" required pattern="[A-Za-z0-9][A-Za-z0-9_\\-]*" autocomplete="off"
          onInput=${(/** @type {Event} */ event) => setName(/** @type {HTMLInputElement} */ (event.target).value)} /></div>
      <button type="submit" class="main" ...${doing(name === "" || kept !== "")}>Keep</button></form>
    <${Trouble} message=${trouble} />
    <p role="status">${said} ${kept === "" ? "" : html`<a href=${`#/write?model=${encodeURIComponent(kept)}`}>Write with it</a>${", "}
      <a href=${`#/look?model=${encodeURIComponent(kept)}`}>look into it</a>, or <a href=${`#/compare?right=${encodeURIComponent(kept)}`}>compare it</a>.`}</p>`;
}

/**
 * @param {Course} course
 * @param {any} event
 * @returns {Course}
 */
function taken(course, event) {
  if ("step" in event) {
    return { ...course, latest: event, bits: [...course.bits, [event.step, event.bits_per_byte]] };
  }
  if ("kept_aside" in event) {
    return { ...course, aside: [...course.aside, [event.kept_aside.step, event.kept_aside.bits_per_byte]] };
  }
  if ("sample" in event) {
    return { ...course, samples: [...course.samples, event] };
  }
  if ("head" in event) {
    return { ...course, heads: [...course.heads, event.head] };
  }
  if ("model" in event) {
    return { ...course, model: event.model };
  }
  return "done" in event ? { ...course, done: event.done } : course;
}

/**
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
function fixed(value, digits = 2) {
  return typeof value === "number" ? value.toFixed(digits) : "-";
}

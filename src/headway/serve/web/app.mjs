/** The page's frame: views as tabs, the link's state, theme, presenter mode, the models' panel, and saving a view. */
import { Api, ApiError, messageOf } from "./api.mjs";
import { exported, save } from "./parts/export.mjs";
import { fragmentOf, recall, remember, routeOf, takeKey } from "./parts/link.mjs";
import { ModelsPanel } from "./parts/panel.mjs";
import { html, render, useEffect, useErrorBoundary, useMemo, useRef, useState } from "./vendor/preact-htm.mjs";

/** @typedef {{title: string, View: (props: import("./types.mjs").ViewProps) => unknown}} ViewModule */

/** @type {Array<{name: string, title: string, about: string, load: () => Promise<ViewModule>}>} */
const VIEWS = [
  { name: "write", title: "Write", about: "A model goes on with your text. Colour shows how surprising each token was.", load: () => import("./views/write.mjs") },
  { name: "look", title: "Look", about: "Where each head of each layer looks, and what changes without it.", load: () => import("./views/look.mjs") },
  { name: "translate", title: "Translate", about: "One sentence through each translator, and which words each word was read from.", load: () => import("./views/translate.mjs") },
  { name: "fill", title: "Fill", about: "A reader guesses what a gap hides, from both of its sides.", load: () => import("./views/fill.mjs") },
  { name: "fourier", title: "Fourier", about: "Attention and its cousins as signals: what they pass on, fast and slow.", load: () => import("./views/fourier.mjs") },
  { name: "compare", title: "Compare", about: "Two models on one prompt and one seed.", load: () => import("./views/compare.mjs") },
  { name: "play", title: "Play", about: "Guess the next word against a model.", load: () => import("./views/play.mjs") },
  { name: "learn", title: "Learn", about: "Train a tiny model on your text, now, and watch it learn.", load: () => import("./views/learn.mjs") },
];
const FIRST = "write";

const key = takeKey();

function App() {
  const api = useMemo(() => new Api(key), []);
  const [route, setRoute] = useState(() => routeOf(location.hash, FIRST));
  const current = useRef(route);
  const [models, setModels] = useState(/** @type {import("./types.mjs").Model[] | null} */ (null));
  const [trouble, setTrouble] = useState(/** @type {unknown} */ (null));
  const [visit, setVisit] = useState(0);
  const [panel, setPanel] = useState(false);

  /** @param {import("./parts/link.mjs").Route} next */
  function go(next) {
    current.current = next;
    setRoute(next);
  }

  useEffect(() => {
    const onMove = () => {
      go(routeOf(location.hash, FIRST));
      setVisit((before) => before + 1);
    };
    addEventListener("hashchange", onMove);
    return () => removeEventListener("hashchange", onMove);
  }, []);

  function loadModels() {
    setTrouble(null);
    return api.get("/v1/models").then((answer) => setModels(answer.data), setTrouble);
  }
  useEffect(() => {
    loadModels();
  }, []);

  /** @param {Record<string, string>} patch */
  function setState(patch) {
    // A link was followed, and its event is still to come: what the view before says must not undo that.
    if (routeOf(location.hash, FIRST).view !== current.current.view) {
      return;
    }
    const next = { view: current.current.view, state: { ...current.current.state, ...patch } };
    history.replaceState(null, "", fragmentOf(next));
    go(next);
  }

  const view = VIEWS.find((one) => one.name === route.view);
  useEffect(() => {
    document.title = view === undefined ? "headway" : `${view.title} - headway`;
  }, [view]);
  useEffect(() => {
    // The link that was followed stood in the view before.
    if (visit > 0 && document.activeElement === document.body) {
      toView();
    }
  }, [visit]);

  return html`
    <a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => {
      event.preventDefault();
      toView();
    }}>Skip to the view</a>
    <header class="top">
      <a class="name" href="#/write">headway</a>
      <nav aria-label="Views"><ul>${VIEWS.map((one) => html`<li key=${one.name}>
        <a href=${`#/${one.name}`} aria-current=${one.name === route.view ? "page" : undefined}>${one.title}</a></li>`)}</ul></nav>
      <${Tools} title=${view?.title ?? "headway"} models=${models} onPanel=${() => setPanel(true)} />
    </header>
    <main id="main" tabindex="-1">
      ${trouble !== null ? html`<${ServerTrouble} error=${trouble} onAgain=${loadModels} />`
        : view === undefined ? html`<h1>No such view</h1><p>There is no view called <q>${route.view}</q>. The views stand above; <a href=${`#/${FIRST}`}>${VIEWS[0]?.title}</a> is the first.</p>`
        : models === null ? html`<p class="waiting">Asking the server for its models.</p>`
        : html`<${Guarded} key=${`${view.name}-${visit}`} view=${view} api=${api} models=${models} state=${route.state}
            setState=${setState} onModels=${loadModels} />`}
    </main>
    ${panel && models !== null ? html`<${ModelsPanel} models=${models} onClose=${() => setPanel(false)} />` : null}`;
}

/** The focus on the view as a whole, for what skips the frame, and where a button that was pressed goes away. */
function toView() {
  document.getElementById("main")?.focus();
}

/** @param {{error: unknown, onAgain: () => void}} props */
function ServerTrouble({ error, onAgain }) {
  const status = error instanceof ApiError ? error.status : null;
  const heading = status === 401 ? "This server wants its key" : status === 0 ? "No answer from the server" : "The server could not answer";
  return html`<div role="alert"><h1>${heading}</h1>
    <p class="trouble">${status === 401 ? "This server needs its key: open the link that it printed when it started, which carries the key." : messageOf(error)}</p>
    <div class="row actions"><button type="button" class="main" onClick=${() => { toView(); onAgain(); }}>Try again</button></div></div>`;
}

/**
 * A view, loaded when first looked at; one that fails says so and leaves the rest of the page as it is.
 * @param {import("./types.mjs").ViewProps & {view: typeof VIEWS[number]}} props
 */
function Guarded({ view, ...rest }) {
  const [module, setModule] = useState(/** @type {ViewModule | null} */ (null));
  const [missing, setMissing] = useState("");
  const [failure, again] = useErrorBoundary((error) => console.warn("a view failed:", error));
  useEffect(() => {
    view.load().then((loaded) => setModule(() => loaded), (error) => setMissing(messageOf(error)));
  }, []);
  if (missing !== "") {
    return html`<div role="alert"><h1>${view.title}</h1>
      <p class="trouble">This view could not be loaded (${missing}). Load the page again.</p></div>`;
  }
  if (failure !== undefined && failure !== null) {
    return html`<div role="alert"><h1>${view.title}</h1><p class="trouble">This view failed: ${messageOf(failure)}</p>
      <button type="button" onClick=${() => { toView(); again(); }}>Show it again</button></div>`;
  }
  if (module === null) {
    return html`<p class="waiting">Loading ${view.title}.</p>`;
  }
  return html`<div id="view" class=${`view view-${view.name}`}><div class="view-head"><h1 data-export="no">${view.title}</h1>
    <p class="hint">${view.about}</p></div>
    <${module.View} ...${rest} /></div>`;
}

/** @param {{title: string, models: import("./types.mjs").Model[] | null, onPanel: () => void}} props */
function Tools({ title, models, onPanel }) {
  const root = document.documentElement;
  const [theme, setTheme] = useState(recall(localStorage, "headway-theme") ?? "system");
  const [presenter, setPresenter] = useState(recall(localStorage, "headway-presenter") === "on");
  const [said, setSaid] = useState("");
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (said === "") {
      return undefined;
    }
    const timer = setTimeout(() => setSaid(""), 4000);
    return () => clearTimeout(timer);
  }, [said]);
  useEffect(() => {
    if (theme === "system") {
      root.removeAttribute("data-theme");
    } else {
      root.setAttribute("data-theme", theme);
    }
    root.setAttribute("data-presenter", presenter ? "on" : "off");
    remember(localStorage, "headway-theme", theme);
    remember(localStorage, "headway-presenter", presenter ? "on" : "off");
    dispatchEvent(new Event("headway-appearance"));
  }, [theme, presenter]);

  function saveView() {
    const view = document.getElementById("view");
    if (view !== null) {
      save(`headway-${title.toLowerCase()}.html`, exported(view, `headway: ${title}`));
      setSaid("Saved.");
    }
  }
  function copyLink() {
    const copied = navigator.clipboard?.writeText(location.href) ?? Promise.reject(new Error());
    copied.then(() => setSaid("Link copied."), () => setSaid("Copy the link from the address bar."));
  }
  const count = models === null ? "" : ` (${models.length})`;
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.key === "Escape" && open) {
      setOpen(false);
      document.getElementById("tools-menu")?.focus();
    }
  };
  return html`<button type="button" id="tools-menu" class="tools-menu" aria-expanded=${open ? "true" : "false"} aria-controls="tools"
      onClick=${() => setOpen(!open)} onKeyDown=${onKey}>Menu</button>
    <div class=${`tools${open ? " open" : ""}`} id="tools" role="group" aria-label="This page" onKeyDown=${onKey}>
    <button type="button" onClick=${onPanel} disabled=${models === null}
      title=${models === null ? "" : models.map((model) => model.id).join(", ")}>Models${count}</button>
    <button type="button" onClick=${copyLink}>Copy link</button>
    <button type="button" onClick=${saveView}>Save this view</button>
    <button type="button" aria-pressed=${presenter ? "true" : "false"} onClick=${() => setPresenter(!presenter)}>Presenter</button>
    <label class="unseen" for="theme">Colours</label>
    <select id="theme" value=${theme} onChange=${(/** @type {Event} */ event) => setTheme(/** @type {HTMLSelectElement} */ (event.target).value)}>
      <option value="system">System</option><option value="light">Light</option><option value="dark">Dark</option>
    </select>
    <span class="said" role="status">${said}</span>
  </div>`;
}

const page = document.getElementById("page");
if (page !== null) {
  page.replaceChildren();
  render(html`<${App} />`, page);
}

/** The link's fragment: #/view?name=value, and the key that a printed link carries. */

const KEY = "headway-key";

/**
 * @typedef {object} Route
 * @property {string} view
 * @property {Record<string, string>} state
 */

/**
 * @param {string} fragment  with or without its #
 * @param {string} first  the view where the fragment names none
 * @returns {Route}
 */
export function routeOf(fragment, first) {
  const path = fragment.replace(/^#\/?/, "");
  const [view = "", query = ""] = path.split(/\?(.*)/s);
  return { view: /^[a-z]+$/.test(view) ? view : first, state: Object.fromEntries(new URLSearchParams(query)) };
}

/**
 * @param {Route} route
 * @returns {string}
 */
export function fragmentOf({ view, state }) {
  const kept = Object.entries(state).filter(([, value]) => value !== "");
  const query = new URLSearchParams(kept).toString();
  return query === "" ? `#/${view}` : `#/${view}?${query}`;
}

/**
 * The key of this visit: from #key=... where the link has one, which is then taken out of the address and of the
 * history, else from an earlier load in the same tab; null without one.
 * @returns {string | null}
 */
export function takeKey() {
  const found = /[#&?]key=([^&]*)/.exec(location.hash);
  if (found !== null) {
    const rest = location.hash.replace(/([#&?])key=[^&]*&?/, "$1").replace(/[&?]$/, "");
    history.replaceState(null, "", location.pathname + location.search + (rest === "#" ? "" : rest));
    remember(sessionStorage, KEY, decodeURIComponent(found[1] ?? ""));
    return decodeURIComponent(found[1] ?? "");
  }
  return recall(sessionStorage, KEY);
}

/**
 * Keep a setting; where the browser forbids it, the page goes on without.
 * @param {Storage} where
 * @param {string} name
 * @param {string} value
 */
export function remember(where, name, value) {
  try {
    where.setItem(name, value);
  } catch {
    return;
  }
}

/**
 * @param {Storage} where
 * @param {string} name
 * @returns {string | null}
 */
export function recall(where, name) {
  try {
    return where.getItem(name);
  } catch {
    return null;
  }
}

"use strict";
// Everything on the page is made from the numbers in it; text is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("look");
const chosen = { token: Math.max(0, data.tokens.length - 1), kind: "", layer: 0, head: 0 };
const KINDS = { "": "own text", encoder: "source", cross: "target reads source" };

function make(tag, settings = {}, children = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "text") element.textContent = value;
    else if (name === "share") element.style.setProperty("--share", String(Math.max(0, Math.min(1, value))));
    else if (name === "click") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function shown(text) {
  return text.replace(/\n/g, "\u21b5").replace(/\t/g, "\u21e5") || "\u2205";
}

function percent(probability) {
  if (probability > 0 && probability < 0.0001) return "< 0.01 %";
  return `${(100 * probability).toFixed(probability < 0.00995 ? 2 : 1)} %`;
}

function section(title, note) {
  const part = make("section", {}, [make("h2", { text: title }), ...(note ? [make("p", { text: note })] : [])]);
  page.append(part);
  return part;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

const number = (text) => ({ text, class: "number" });

function table(caption, heads, rows) {
  const head = make("tr", {}, heads.map((one) => make("th", { scope: "col", ...(typeof one === "object" ? one : { text: one }) })));
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption }, [
    make("table", {}, [make("caption", { text: caption }), make("thead", {}, [head]), make("tbody", {}, rows)]),
  ]);
}

function guesses(caption, list, before) {
  const known = new Map((before || []).map((one) => [one.id, one.probability]));
  const heads = ["token", number("probability"), ...(before ? [number("without ablation")] : [])];
  return table(caption, heads, list.map((one) => make("tr", {}, [
    make("th", { scope: "row", text: shown(one.text) }),
    make("td", { class: "number shade", share: 0.5 * one.probability, text: percent(one.probability) }),
    ...(before ? [make("td", { class: "number", text: known.has(one.id) ? percent(known.get(one.id)) : "" })] : []),
  ])));
}

// ---- attention

function draw(canvas, width, height, value, marked) {
  canvas.width = width;
  canvas.height = height;
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").split(",").map(Number);
  const warm = getComputedStyle(document.documentElement).getPropertyValue("--warm").split(",").map(Number);
  const pixels = new ImageData(width, height);
  for (let row = 0; row < height; row++) {
    const colour = row === marked ? warm : ink;
    for (let column = 0; column < width; column++) {
      const at = 4 * (row * width + column);
      pixels.data.set(colour, at);
      pixels.data[at + 3] = Math.round(255 * value(row, column));
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function small(kind) {
  const found = data.thumbnails && (kind ? data.thumbnails[kind] : data.thumbnails);
  if (!found || !found.data) return null;
  if (!found.cells) found.cells = bytes(found.data);
  const [layers, heads, rows, columns] = found.shape;
  const value = (layer, head) => (row, column) =>
    found.cells[((layer * heads + head) * rows + row) * columns + column] / 255;
  return { layers, heads, rows, columns, value };
}

function whole(kind, layer, head) {
  const map = (data.attention || {})[kind ? `${kind}.${layer}` : String(layer)];
  if (!map) return null;
  if (Array.isArray(map)) {
    const rows = map[head];
    return { rows: rows.length, columns: rows[0].length, value: (row, column) => rows[row][column] };
  }
  if (!map.view) map.view = new DataView(bytes(map.data).buffer);
  const [, rows, columns] = map.shape;
  const value = (row, column) => map.view.getUint16(2 * ((head * rows + row) * columns + column), true) / 65535;
  return { rows, columns, value };
}

function named(layer, head) {
  const names = [];
  const kinds = { previous: "previous token", first: "first token", repeat: "repeats" };
  for (const [kind, name] of Object.entries(kinds)) {
    const scores = data.heads && data.heads[kind] && data.heads[kind][layer];
    if (scores && scores[head] >= 0.4) names.push(`${name} ${percent(scores[head])}`);
  }
  return names.join(", ");
}

function grids() {
  const attends = new Set(data.attends);
  for (const kind of Object.keys(KINDS)) {
    const maps = small(kind);
    if (!maps) continue;
    const part = section(
      `Attention of all heads: ${KINDS[kind]}`,
      "A row for each layer, a picture for each head; rows of a picture read its columns, a stronger colour is more. " +
        "Each picture's strongest cell is its own largest. Choose one to see it large.",
    );
    const grid = make("div", { class: "heads" });
    grid.style.gridTemplateColumns = `max-content repeat(${maps.heads}, minmax(2.4rem, 6rem))`;
    for (let layer = 0; layer < maps.layers; layer++) {
      if (!kind && !attends.has(layer)) continue;
      grid.append(make("span", { class: "name", text: `layer ${layer}` }));
      for (let head = 0; head < maps.heads; head++) {
        const canvas = make("canvas", { "aria-hidden": "true" });
        const kinds = kind ? "" : named(layer, head);
        const name = `layer ${layer}, head ${head}${kinds ? `: ${kinds}` : ""}`;
        grid.append(make("button", {
          type: "button", title: name, "aria-label": `${KINDS[kind]}, ${name}`, "aria-pressed": "false",
          "data-head": `${kind}.${layer}.${head}`,
          click: () => { Object.assign(chosen, { kind, layer, head }); refresh(); },
        }, [canvas]));
        draw(canvas, maps.columns, maps.rows, maps.value(layer, head), -1);
      }
    }
    part.append(grid);
  }
}

const LABELLED = 40; // tokens a side; beyond, the names would be too small to read
const rowNames = make("div", { class: "row-names", "aria-hidden": "true" });
const columnNames = make("div", { class: "column-names", "aria-hidden": "true" });
const picture = make("canvas", { role: "img" });
const reads = make("div");
const told = make("figcaption");
const largeName = make("h2");

function enlarge() {
  const { kind, layer, head } = chosen;
  const kinds = kind ? "" : named(layer, head);
  const name = `Layer ${layer}, head ${head} (${KINDS[kind]})${kinds ? `: ${kinds}` : ""}`;
  largeName.textContent = name;
  picture.setAttribute("aria-label", `Attention map of ${name}; the table beside it says what the chosen token reads`);
  const map = whole(kind, layer, head);
  reads.replaceChildren();
  told.replaceChildren();
  nameSides([], []);
  if (!map) {
    const maps = small(kind);
    if (maps) draw(picture, maps.columns, maps.rows, maps.value(layer, head), -1);
    reads.append(make("p", { text: "This head's whole map is not in this file: the text is long." }));
    return;
  }
  const readers = kind === "encoder" ? data.source_tokens : data.tokens;
  const read = kind ? data.source_tokens : data.tokens;
  const place = Math.min(chosen.token, map.rows - 1);
  let largest = 0;
  for (let row = 0; row < map.rows; row++) {
    for (let column = 0; column < map.columns; column++) largest = Math.max(largest, map.value(row, column));
  }
  draw(picture, map.columns, map.rows, (row, column) => map.value(row, column) / (largest || 1), place);
  told.replaceChildren(
    make("span", { text: "0 % " }), make("span", { class: "scale" }),
    make("span", { text: ` ${percent(largest)}, the largest of this head. From top to bottom the ${map.rows} tokens ` +
      `that read, from left to right the ${map.columns} that are read; the row of the chosen token has the other colour.` }),
  );
  nameSides(readers, read);
  const row = Array.from({ length: map.columns }, (_, column) => [map.value(place, column), column]);
  row.sort((one, other) => other[0] - one[0]);
  reads.append(table(`What "${shown(readers[place].text)}" (token ${place}) reads`, [number("place"), "token", number("share")],
    row.slice(0, 12).map(([value, column]) => make("tr", {}, [
      make("td", { class: "number", text: String(column) }),
      make("th", { scope: "row", text: shown(read[column].text) }),
      make("td", { class: "number shade", share: 0.5 * value, text: percent(value) }),
    ]))));
}

// The names of a map's rows and columns, beside it, which the table says to those who do not see them.
function nameSides(readers, read) {
  const few = Math.max(readers.length, read.length) <= LABELLED;
  const named = (tokens, marked) => (few ? tokens : []).map((token, place) =>
    make("span", { text: shown(token.text), ...(place === marked ? { class: "now" } : {}) }));
  rowNames.replaceChildren(...named(readers, chosen.token));
  columnNames.replaceChildren(...named(read, -1));
}

function refresh() {
  for (const button of page.querySelectorAll("[data-head]")) {
    button.setAttribute("aria-pressed", String(button.dataset.head === `${chosen.kind}.${chosen.layer}.${chosen.head}`));
  }
  for (const button of page.querySelectorAll("[data-token]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.token) === chosen.token));
  }
  enlarge();
}

// ---- the other views

function tokens() {
  const bits = data.surprise;
  const part = section("Tokens", bits
    ? "The stronger the colour, the more the token surprised the model (in bits; full colour is 12 or more). " +
      "Choose one to see what it reads."
    : "Choose one to see what it reads.");
  const list = make("div", { class: "tokens" });
  data.tokens.forEach((token, place) => {
    const known = bits && bits[place] !== null && bits[place] !== undefined;
    const says = known ? `${bits[place].toFixed(1)} bits` : "no surprise known";
    list.append(make("button", {
      type: "button", text: shown(token.text), title: `token ${place}: id ${token.id}, ${says}`,
      "aria-label": `${shown(token.text)}, ${says}`, "aria-pressed": "false", "data-token": String(place),
      share: known ? Math.min(bits[place] / 12, 1) * 0.5 : 0,
      click: () => { chosen.token = place; refresh(); },
    }));
  });
  part.append(list);
}

function predictions() {
  const without = data.without_ablation;
  if (data.next && data.next.length) {
    section("What comes next").append(
      guesses("The most probable next tokens", data.next, without && without.next));
  }
  (data.masks || []).forEach((mask, number) => {
    section(`The mask at token ${mask.position}`).append(
      guesses("The most probable tokens", mask.top, without && without.masks && without.masks[number].top));
  });
}

function lens() {
  if (!data.logit_lens) return;
  const { layers, top } = data.logit_lens;
  const part = section("Logit lens", "What the model would say if it stopped after a layer: a row for each token " +
    "read, a column for each layer; the stronger the colour, the surer.");
  part.append(table("The most probable token after each layer", ["token", ...layers],
    data.tokens.map((token, place) => make("tr", {}, [
      make("th", { scope: "row", text: shown(token.text) }),
      ...layers.map((_, layer) => {
        const best = top[layer][place];
        return make("td", {
          class: "shade", share: 0.5 * best[0].probability, text: shown(best[0].text),
          title: best.map((one) => `${shown(one.text)} ${percent(one.probability)}`).join("\n"),
        });
      }),
    ]))));
}

function contributions() {
  const parts = data.contributions;
  if (!parts) return;
  const part = section("What each part adds", "To the logit of the token that follows, above the mean logit, with " +
    "the norms' scales held as they were. A row adds up to the last column.");
  const columns = [["embedding", parts.embedding]];
  parts.layers.forEach((layer, at) => {
    for (const kind of ["attention", "cross_attention", "feed_forward"]) {
      if (parts[kind]) columns.push([`${layer} ${kind.replace("_", " ")}`, parts[kind][at]]);
    }
  });
  columns.push(["bias", parts.bias], ["sum", parts.logit]);
  part.append(table("Shares of the logit", ["token", "follows", ...columns.map(([name]) => number(name))],
    data.tokens.map((token, place) => make("tr", {}, [
      make("th", { scope: "row", text: shown(token.text) }), make("td", { text: shown(parts.targets[place].text) }),
      ...columns.map(([, values]) => make("td", {
        class: `number shade${values[place] < 0 ? " less" : ""}`, share: Math.min(Math.abs(values[place]) / 8, 0.5),
        text: values[place].toFixed(2).replace(/^-(0\.00)$/, "$1"),
      })),
    ]))));
}

page.replaceChildren();
tokens();
predictions();
grids();
const kindsThere = Object.keys(KINDS).filter((kind) => small(kind));
if (kindsThere.length) {
  chosen.kind = kindsThere.includes("cross") ? "cross" : kindsThere[0];
  chosen.layer = chosen.kind ? 0 : data.attends[0] || 0;
  const part = make("section", {}, [
    largeName, make("div", { class: "large" }, [make("figure", {}, [
      make("div", { class: "map" }, [columnNames, rowNames, picture]), told,
    ]), reads]),
  ]);
  page.append(part);
}
lens();
contributions();
for (const [what, why] of Object.entries(data.notes || {})) {
  page.append(make("p", { text: `${what.replace("_", " ")}: ${why}.` }));
}
refresh();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());

/** Model cards: headings, lists, tables, code and paragraphs of Markdown as elements; anything else stays as written. */
import { h, html } from "../vendor/preact-htm.mjs";

/**
 * @param {{text: string}} props
 */
export function Markdown({ text }) {
  const blocks = text.replace(/\r\n?/g, "\n").replace(/<!--[^]*?-->/g, "").split(/\n{2,}|\n(?=#)/);
  return html`<div class="markdown">${blocks.map((block) => blockOf(block.replace(/^\n+|\s+$/g, "")))}</div>`;
}

/**
 * @param {string} block
 * @returns {import("../vendor/preact-htm.mjs").Child}
 */
function blockOf(block) {
  if (block === "") {
    return null;
  }
  const heading = /^(#{1,6})\s+(.*?)(?:\n([^]*))?$/.exec(block);
  if (heading !== null) {
    const level = Math.min(6, (heading[1] ?? "").length + 2);
    const below = heading[3] ?? "";
    return [h(`h${level}`, null, heading[2] ?? ""), below === "" ? null : blockOf(below)];
  }
  const lines = block.split("\n");
  if (lines.length > 1 && lines.every((line) => line.includes("|")) && /^[\s|:-]+$/.test(lines[1] ?? "")) {
    return table(lines);
  }
  if (/^\s*[-*]\s/.test(block)) {
    const items = block.split(/\n(?=\s*[-*]\s)/).map((item) => item.replace(/^\s*[-*]\s+/, ""));
    return html`<ul>${items.map((item, at) => html`<li key=${at}>${inline(item)}</li>`)}</ul>`;
  }
  if (block.startsWith("```")) {
    return code(block.replace(/^```.*\n?|\n?```$/g, ""));
  }
  if (/^ {4}/.test(block)) {
    return code(block.replace(/^ {4}/gm, ""));
  }
  return html`<p>${inline(block)}</p>`;
}

/** @param {string} text  whose lines may be wider than the screen */
function code(text) {
  return html`<pre tabindex="0" role="region" aria-label="Code">${text}</pre>`;
}

/** @param {string[]} lines */
function table(lines) {
  const [head = [], ...rows] = lines
    .filter((_, at) => at !== 1)
    .map((line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim()));
  return html`<div class="scrolls" tabindex="0" role="region" aria-label="Table"><table>
    <thead><tr>${head.map((cell, at) => html`<th key=${at} scope="col">${inline(cell)}</th>`)}</tr></thead>
    <tbody>${rows.map((row, number) => html`<tr key=${number}>
      ${row.map((cell, at) => html`<td key=${at}>${inline(cell)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** @param {string} text */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`") && part.endsWith("`") && part.length > 2) {
      return html`<code>${part.slice(1, -1)}</code>`;
    }
    if (part.startsWith("**") && part.endsWith("**") && part.length > 4) {
      return html`<strong>${part.slice(2, -2)}</strong>`;
    }
    return part;
  });
}

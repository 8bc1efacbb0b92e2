/** A view as one HTML file that needs nothing else: its words, its styles, and its drawings as pictures. */

/**
 * The file's text. Buttons and fields stand as they are now, and do nothing.
 * @param {Element} view
 * @param {string} title
 * @returns {string}
 */
export function exported(view, title) {
  const clone = /** @type {Element} */ (view.cloneNode(true));
  freezeFields(view, clone);
  freezeCanvases(view, clone);
  for (const button of clone.querySelectorAll("button, input, select, textarea")) {
    button.setAttribute("disabled", "");
  }
  for (const dropped of clone.querySelectorAll("[data-export='no']")) {
    dropped.remove();
  }
  const main = document.createElement("main");
  const heading = document.createElement("h1");
  heading.textContent = title;
  const note = document.createElement("p");
  note.className = "hint";
  note.textContent = `Saved from headway on ${new Date().toISOString().slice(0, 10)}. Words written by a model are not facts.`;
  main.append(heading, note, clone);
  // The styles are joined as text: as an element, this page's own policy would refuse them.
  const root = document.documentElement;
  const theme = /^(light|dark)$/.exec(root.getAttribute("data-theme") ?? "")?.[0];
  const presenter = root.getAttribute("data-presenter") === "on" ? "on" : "off";
  return [
    "<!doctype html>",
    `<html lang="en" data-presenter="${presenter}"${theme === undefined ? "" : ` data-theme="${theme}"`}>`,
    '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">`,
    `<title>${title.replace(/[<&]/g, "")}</title>`,
    `<style>${allStyles().replaceAll("</", "")}</style></head>`,
    `<body>${new XMLSerializer().serializeToString(main)}</body></html>`,
    "",
  ].join("\n");
}

/**
 * Hand a text over as a file to be saved.
 * @param {string} name
 * @param {string} text
 */
export function save(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/html" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** @returns {string} */
function allStyles() {
  return [...document.styleSheets]
    .map((sheet) => [...sheet.cssRules].map((rule) => rule.cssText).join("\n"))
    .join("\n");
}

/**
 * What was typed is a property of a field, which a clone of the markup lacks.
 * @param {Element} view
 * @param {Element} clone
 */
function freezeFields(view, clone) {
  const shown = view.querySelectorAll("input, textarea, select");
  const copies = clone.querySelectorAll("input, textarea, select");
  shown.forEach((field, at) => {
    const copy = copies[at];
    if (field instanceof HTMLTextAreaElement && copy !== undefined) {
      copy.textContent = field.value;
    } else if (field instanceof HTMLInputElement && copy !== undefined) {
      copy.setAttribute("value", field.value);
      copy.toggleAttribute("checked", field.checked);
    } else if (field instanceof HTMLSelectElement && copy !== undefined) {
      copy.querySelectorAll("option").forEach((option, number) => {
        option.toggleAttribute("selected", number === field.selectedIndex);
      });
    }
  });
}

/**
 * @param {Element} view
 * @param {Element} clone
 */
function freezeCanvases(view, clone) {
  const copies = clone.querySelectorAll("canvas");
  view.querySelectorAll("canvas").forEach((canvas, at) => {
    const picture = document.createElement("img");
    picture.src = canvas.toDataURL("image/png");
    picture.alt = canvas.getAttribute("aria-label") ?? "";
    picture.className = canvas.className;
    const { backgroundColor, border, imageRendering } = getComputedStyle(canvas);
    Object.assign(picture.style, { backgroundColor, border, imageRendering });
    picture.style.width = `${canvas.clientWidth}px`;
    picture.style.height = `${canvas.clientHeight}px`;
    copies[at]?.replaceWith(picture);
  });
}

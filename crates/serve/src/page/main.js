// The page's start: the models, the token, and the two parts.

import { ask, hooks } from "./api.js";
import { byId, element, notice } from "./dom.js";
import { Drawing } from "./draw.js";
import { Photos } from "./photos.js";

const drawing = new Drawing();
const photos = new Photos();
const PARTS = ["draw", "photos"];

hooks.busy = (seconds) => {
  notice(seconds === undefined ? "" : `The server is busy. The page tries again in ${seconds} s.`);
};

hooks.token = (wasRefused) => {
  const [form, field] = [byId("token-form"), byId("token")];
  form.hidden = false;
  if (wasRefused) notice("The server refused this token.");
  field.focus();
  return new Promise((done) => {
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        form.hidden = true;
        notice();
        done(field.value.trim());
        field.value = "";
      },
      { once: true },
    );
  });
};

function showPart(part, isFocused = false) {
  for (const other of PARTS) {
    const tab = byId(`tab-${other}`);
    const isShown = other === part;
    tab.setAttribute("aria-selected", String(isShown));
    tab.tabIndex = isShown ? 0 : -1;
    byId(other).hidden = !isShown;
    if (isShown && isFocused) tab.focus();
  }
  if (part !== "photos") photos.camera.close();
}

function useTabs() {
  for (const [index, part] of PARTS.entries()) {
    const tab = byId(`tab-${part}`);
    tab.addEventListener("click", () => showPart(part));
    tab.addEventListener("keydown", ({ key }) => {
      const to = { ArrowLeft: index + 1, ArrowRight: index + 1, Home: 0, End: PARTS.length - 1 }[key];
      if (to !== undefined) showPart(PARTS[to % PARTS.length], true);
    });
  }
}

/** Files that are pasted or dropped anywhere are pictures. */
function useFiles() {
  const take = (files) => {
    if (files.length === 0) return;
    showPart("photos");
    photos.add(files);
  };
  const marked = (isOver) => byId("drop").classList.toggle("over", isOver);
  const onFiles = (name, handle) =>
    addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      // Otherwise the browser would leave the page and show the file.
      event.preventDefault();
      handle(event.dataTransfer);
    });
  addEventListener("paste", ({ clipboardData }) => take(clipboardData?.files ?? []));
  addEventListener("dragleave", () => marked(false));
  onFiles("dragover", () => marked(true));
  onFiles("drop", ({ files }) => {
    marked(false);
    take(files);
  });
}

function use({ name, model, classes, image_size: [height, width] }) {
  byId("about").textContent = `${name}: ${model}, ${classes.length} classes, ${width}\u00a0×\u00a0${height} pixels`;
  drawing.use({ name, classes });
  photos.use({ name, classes });
}

async function start() {
  useTabs();
  useFiles();
  const { models } = await ask("v1/models");
  const choice = byId("model");
  choice.replaceChildren(...models.map(({ name }) => element("option", { textContent: name })));
  choice.addEventListener("change", () => use(models[choice.selectedIndex]));
  byId("model-choice").hidden = models.length < 2;
  const [first] = models;
  if (!first.classes.every((label) => [...label].length === 1)) showPart("photos");
  use(first);
}

start().catch((problem) => {
  byId("about").textContent = "No model can be used.";
  notice(problem.message);
});

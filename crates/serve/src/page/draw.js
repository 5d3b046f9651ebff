// The part "Draw a digit".

import { ask } from "./api.js";
import { byId, newestOnly, notice, percent, say, scoreRow } from "./dom.js";
import { drawHeat, drawPicture, loaded } from "./heat.js";
import { SIDE, digit, graymap } from "./mnist.js";
import { Pad } from "./pad.js";

/** With more classes than this, only the most probable ones are shown. */
const MOST_ROWS = 36;
const TOP = 10;

export class Drawing {
  #pad;
  #model = null;
  /** Counts changes of the drawing, so that late answers are recognised. */
  #version = 0;
  #offer = newestOnly((job, isOld) => this.#answer(job, isOld));
  #setters = new Map();

  constructor() {
    this.#pad = new Pad(byId("pad"), {
      changed: () => this.#ask(false),
      lifted: () => this.#ask(true),
      say,
    });
    byId("undo").addEventListener("click", () => this.#pad.undo());
    byId("clear").addEventListener("click", () => this.#pad.clear());
    this.#empty();
  }

  /** Answers come from this model from now on. */
  use(model) {
    this.#model = model;
    this.#setters.clear();
    const labels = model.classes.length <= MOST_ROWS ? model.classes : [];
    byId("scores").replaceChildren(...labels.map((label) => this.#newRow(label)));
    this.#ask(true);
  }

  #newRow(label, score) {
    const { row, set } = scoreRow(label, score);
    this.#setters.set(label, set);
    return row;
  }

  #ask(isLifted) {
    this.#version += 1;
    const pixels = digit(this.#pad.strokes);
    const isEmpty = pixels === null;
    byId("undo").disabled = byId("clear").disabled = isEmpty;
    this.#setBusy(!isEmpty && this.#model !== null);
    if (isEmpty) {
      this.#empty();
    } else {
      this.#showSent(pixels);
      if (this.#model) this.#offer({ pixels, isLifted, version: this.#version });
    }
  }

  #setBusy(isBusy) {
    byId("scores").setAttribute("aria-busy", String(isBusy));
  }

  async #answer({ pixels, isLifted, version }, isOld) {
    const body = graymap(pixels);
    const request = { body, type: body.type };
    const { name: model, classes } = this.#model;
    try {
      const top_k = classes.length <= MOST_ROWS ? classes.length : TOP;
      const found = await ask("v1/predict", { ...request, query: { model, top_k } });
      notice();
      // The drawing may have been cleared meanwhile. While it grows, every answer is shown.
      if (this.#pad.strokes.length === 0) return;
      this.#showScores(found);
      if (!isLifted || isOld() || version !== this.#version) return;
      say(`${found.label}, ${percent(found.score)}.`);
      await this.#explain({ ...request, query: { model } }, version);
    } catch (problem) {
      notice(problem.message);
    } finally {
      if (isLifted && version === this.#version) this.#setBusy(false);
    }
  }

  #showScores({ label, score, top_k }) {
    byId("answer").replaceChildren(`${label} `, Object.assign(document.createElement("span"), { textContent: percent(score) }));
    const all = this.#model.classes.length <= MOST_ROWS;
    if (!all || top_k.some((entry) => !this.#setters.has(entry.label))) {
      this.#setters.clear();
      byId("scores").replaceChildren(...top_k.map((entry) => this.#newRow(entry.label, entry.score)));
    }
    for (const entry of top_k) this.#setters.get(entry.label)(entry.score);
  }

  #showSent(pixels) {
    const context = byId("sent").getContext("2d");
    const image = context.createImageData(SIDE, SIDE);
    pixels.forEach((value, at) => image.data.set([value, value, value, 255], 4 * at));
    context.putImageData(image, 0, 0);
    for (const id of ["seen", "heat"]) byId(id).classList.add("old");
  }

  /** Not every network can be explained. Then the answer stays without a heat. */
  async #explain(request, version) {
    const isOld = () => version !== this.#version;
    try {
      const explained = await ask("v1/explain", request);
      if (!isOld()) await this.#showHeat(explained);
    } catch (problem) {
      if (!isOld()) byId("heat-text").textContent = `No heat: ${problem.message}`;
    }
  }

  async #showHeat({ label, height, width, map, seen }) {
    const image = await loaded(seen);
    drawPicture(byId("seen"), image);
    drawHeat(byId("heat"), image, { map, height, width });
    byId("seen-text").textContent = `Seen by the model: ${image.naturalWidth}\u00a0×\u00a0${image.naturalHeight} pixels`;
    byId("heat-text").textContent = `Heat: the places that speak for ${label}`;
    for (const id of ["seen", "heat"]) byId(id).classList.remove("old");
  }

  #empty() {
    say("");
    byId("answer").textContent = "–";
    for (const set of this.#setters.values()) set(undefined);
    for (const id of ["sent", "seen", "heat"]) {
      const context = byId(id).getContext("2d");
      context.fillStyle = "#000";
      context.fillRect(0, 0, context.canvas.width, context.canvas.height);
      context.canvas.classList.remove("old");
    }
    byId("heat-text").textContent = "Heat: the places that speak for the answer";
  }
}

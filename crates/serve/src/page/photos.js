// The part "Pictures".

import { ask } from "./api.js";
import { Camera } from "./camera.js";
import { TOP, csv } from "./csv.js";
import { Lanes, byId, element, percent, say, scoreRow } from "./dom.js";
import { drawHeat, loaded } from "./heat.js";

/** Requests at the same time. */
const LANES = 2;

export class Photos {
  #model = null;
  #entries = [];
  #lanes = new Lanes(LANES);
  /** Pictures are explained when they come into view. */
  #seen = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      if (!isIntersecting) continue;
      this.#seen.unobserve(target);
      const entry = this.#entries.find(({ card }) => card === target);
      if (entry) this.#lanes.add(() => this.#explain(entry), false);
    }
  });

  constructor() {
    const files = byId("files");
    files.addEventListener("change", () => {
      this.add(files.files);
      files.value = "";
    });
    byId("remove").addEventListener("click", () => this.#removeAll());
    byId("csv").addEventListener("click", () => this.#download());
    this.camera = new Camera((file) => this.add([file]));
  }

  /** Answers come from this model from now on, also those for the pictures that are here. */
  use(model) {
    this.#model = model;
    this.#lanes.clear();
    for (const entry of this.#entries) this.#enqueue(entry);
    this.#showProgress();
  }

  add(files) {
    for (const file of files) {
      const entry = { file, name: file.name, url: URL.createObjectURL(file), turn: 0 };
      entry.card = newCard(entry);
      this.#entries.push(entry);
      byId("cards").append(entry.card);
      if (this.#model) this.#enqueue(entry);
    }
    this.#showProgress();
  }

  #enqueue(entry) {
    entry.turn += 1;
    entry.top_k = entry.error = undefined;
    this.#seen.unobserve(entry.card);
    showState(entry, "waiting");
    this.#lanes.add(() => this.#predict(entry));
  }

  async #predict(entry) {
    const { turn } = entry;
    const isOld = () => turn !== entry.turn || !this.#entries.includes(entry);
    const model = this.#model.name;
    try {
      showState(entry, "sent");
      const { top_k } = await ask("v1/predict", { ...(await request(entry)), query: { model, top_k: TOP } });
      if (isOld()) return;
      entry.top_k = top_k;
      showAnswer(entry);
      this.#seen.observe(entry.card);
    } catch (problem) {
      if (isOld()) return;
      entry.error = problem.message;
      showState(entry, entry.error, true);
    }
    this.#showProgress();
  }

  async #explain(entry) {
    const { turn } = entry;
    try {
      const explained = await ask("v1/explain", { ...(await request(entry)), query: { model: this.#model.name } });
      if (turn !== entry.turn) return;
      const canvas = element("canvas", { role: "img", "aria-label": `Places that speak for ${explained.label}` });
      drawHeat(canvas, await loaded(explained.seen), explained);
      entry.card.querySelector(".heat")?.remove();
      entry.card.querySelector(".views").append(element("div", { className: "heat" }, canvas));
    } catch (problem) {
      if (turn === entry.turn) entry.card.append(element("p", { className: "note", textContent: `No heat: ${problem.message}` }));
    }
  }

  #showProgress() {
    const count = this.#entries.length;
    const done = this.#entries.filter(({ top_k, error }) => top_k || error);
    const failed = done.filter(({ error }) => error).length;
    const pictures = count === 1 ? "1 picture" : `${count} pictures`;
    const failures = failed > 0 ? `, ${failed} failed` : "";
    const isDone = done.length === count;
    const text = isDone ? `${pictures}${failures}` : `${done.length} of ${pictures}${failures}`;
    byId("progress").textContent = text;
    byId("results").hidden = count === 0;
    byId("table-part").hidden = count < 2;
    byId("csv").disabled = !isDone;
    if (!isDone || count === 0) return;
    this.#fillTable();
    const [only] = this.#entries;
    say(count > 1 ? `${text}. The table is complete.` : spoken(only));
  }

  #fillTable() {
    const rows = this.#entries.map(({ name, top_k, error }) => {
      const cell = (text, className = "") => element("td", { textContent: text, className });
      const best = top_k?.[0];
      const head = element("th", { scope: "row", className: "name", textContent: name });
      return element("tr", {}, head, cell(best ? best.label : error, best ? "name" : "name failed"), cell(best ? percent(best.score) : ""));
    });
    byId("rows").replaceChildren(...rows);
  }

  #download() {
    const url = URL.createObjectURL(new Blob([csv(this.#entries)], { type: "text/csv" }));
    element("a", { href: url, download: "predictions.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  #removeAll() {
    this.#lanes.clear();
    this.#seen.disconnect();
    for (const { url } of this.#entries) URL.revokeObjectURL(url);
    this.#entries = [];
    byId("cards").replaceChildren();
    this.#showProgress();
    say("All pictures are removed.");
    byId("files").focus();
  }
}

/** The file as it is. */
async function request({ file }) {
  try {
    const body = await file.arrayBuffer();
    return { body, type: file.type.startsWith("image/") ? file.type : "application/octet-stream" };
  } catch {
    throw new Error("The file cannot be read.");
  }
}

function newCard({ name, url }) {
  const picture = element("img", { src: url, alt: "", loading: "lazy", decoding: "async" });
  // The server reads formats that browsers do not, and the heat shows those.
  picture.addEventListener("error", () => picture.remove());
  return element(
    "li",
    {},
    element("div", { className: "views" }, picture),
    element("h3", { textContent: name }),
    element("p", { className: "state" }),
    element("ol", { className: "scores", "aria-label": "The most probable labels" }),
  );
}

function showState({ card }, text, isFailure = false) {
  const state = card.querySelector(".state");
  state.textContent = text;
  state.classList.toggle("failed", isFailure);
  card.querySelector(".scores").replaceChildren();
  card.querySelector(".heat")?.remove();
}

function showAnswer(entry) {
  const [{ label, score }] = entry.top_k;
  showState(entry, "");
  entry.card.querySelector(".state").append(element("strong", { textContent: label }), ` ${percent(score)}`);
  const rows = entry.top_k.map((found) => scoreRow(found.label, found.score).row);
  entry.card.querySelector(".scores").replaceChildren(...rows);
}

function spoken({ name, top_k, error }) {
  return error ? `${name}: ${error}` : `${name}: ${top_k[0].label}, ${percent(top_k[0].score)}.`;
}

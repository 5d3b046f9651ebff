// Opens a report in headless Chromium and checks it: no console message, no request, every figure equal to the
// evaluation's, no accessibility violation of axe-core, nothing wider than the window, and pictures behind the cells
// of the confusion matrix.
//
// usage: node report.mjs REPORT.html EVALUATION.json SCREENSHOTS
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { By, Key } from "selenium-webdriver";
import {
  VIEWS, checkLayout, checkLogs, finish, problems, setView, startBrowser, takePicture, viewName,
} from "./browser.mjs";

const [reportFile, evaluationFile, screenshots] = process.argv.slice(2);
const url = pathToFileURL(path.resolve(reportFile)).href;
const evaluation = JSON.parse(readFileSync(evaluationFile, "utf8"));

// The value at a JSON pointer (RFC 6901).
function at(document, pointer) {
  const keys = pointer.split("/").slice(1);
  return keys.reduce((value, key) => value?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], document);
}

// A figure's text must be its value, rounded to the digits shown.
function isRounded(text, value) {
  const match = text.replaceAll("\u202f", "").replaceAll(",", "").match(/^(-?\d+(?:\.(\d+))?)\s*(%?)$/);
  if (!match) return false;
  const unit = 10 ** -(match[2]?.length ?? 0);
  const shown = match[3] === "%" ? value * 100 : value;
  return Math.abs(Number(match[1]) - shown) <= unit * 0.5 * (1 + 1e-9);
}

async function checkFigures(driver) {
  const figures = await driver.executeScript(() =>
    [...document.querySelectorAll("[data-figure]")].map((element) => ({
      pointer: element.dataset.figure,
      value: element.getAttribute("value"),
      text: element.textContent.trim(),
    })),
  );
  for (const { pointer, value, text } of figures) {
    const expected = at(evaluation, pointer);
    if (typeof expected !== "number" || Number(value) !== expected) {
      problems.push(`figure ${pointer}: the report has ${value}, the evaluation ${expected}`);
    } else if (!isRounded(text, expected)) {
      problems.push(`figure ${pointer}: the report shows ${JSON.stringify(text)} for ${expected}`);
    }
  }
  const shown = new Set(figures.map(({ pointer }) => pointer));
  const required = [
    "/accuracy", "/accuracy_interval/low", "/accuracy_interval/high",
    "/macro_f1", "/macro_f1_interval/low", "/macro_f1_interval/high",
    "/images", "/loss", "/macro_precision", "/macro_recall", "/balanced_accuracy", "/cohen_kappa",
    "/macro_roc_auc", "/macro_average_precision", "/calibration/expected_error",
    ...evaluation.top_k.map((_, index) => `/top_k/${index}/accuracy`),
    ...evaluation.classes.flatMap((_, index) =>
      ["support", "precision", "recall", "f1", "average_precision", "roc_auc"].map((name) => `/classes/${index}/${name}`)),
    ...evaluation.confusion.flatMap((row, label) => row.map((_, predicted) => `/confusion/${label}/${predicted}`)),
  ];
  // Figures that are null are not defined, for example for a class without images.
  const missing = required.filter((pointer) => at(evaluation, pointer) != null && !shown.has(pointer));
  if (missing.length > 0) problems.push(`figures missing in the report: ${missing.join(" ")}`);
  return figures.length;
}

async function checkView(driver, view) {
  await setView(driver, view);
  await driver.get(url);
  await checkLayout(driver, viewName(view));
  const sections = await driver.findElements(By.css("main section"));
  if (sections.length === 0) problems.push("the page has no sections");
  for (const [index, section] of sections.entries()) {
    const name = (await section.getAttribute("id")) || String(index);
    await takePicture(driver, section, path.join(screenshots, `${viewName(view)}-${index}-${name}.png`));
  }
}

// A click, or the enter key, on a cell with images shows them.
async function checkCells(driver) {
  const cells = await driver.findElements(By.css("[data-cell]"));
  if (cells.length === 0) problems.push("no cell of the confusion matrix can be opened");
  for (const [index, open] of [(cell) => cell.click(), (cell) => cell.sendKeys(Key.ENTER)].entries()) {
    const cell = cells[index % Math.max(cells.length, 1)];
    if (!cell) continue;
    await driver.executeScript((element) => element.scrollIntoView({ block: "center" }), cell);
    await open(cell);
    const images = await driver.executeScript(() =>
      [...document.querySelectorAll("#cell-images img")].filter((image) => image.checkVisibility() && image.naturalWidth > 0).length);
    if (images === 0) problems.push(`a ${index === 0 ? "click" : "press of enter"} on a cell shows no images`);
  }
}

const driver = await startBrowser();
try {
  for (const view of VIEWS) await checkView(driver, view);
  const figures = await checkFigures(driver);
  await checkCells(driver);
  await checkLogs(driver, { isRequestAllowed: (target) => target.split("#")[0] === url });
  console.log(`${figures} figures compared; screenshots are in ${screenshots}`);
} finally {
  await driver.quit();
}
finish();

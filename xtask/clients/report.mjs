// Opens a report in headless Chromium and checks it: no console message, no request, every figure equal to the
// evaluation's, no accessibility violation of axe-core, nothing wider than the window, and pictures behind the cells
// of the confusion matrix.
//
// usage: node report.mjs REPORT.html EVALUATION.json SCREENSHOTS
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { Builder, By, Key, logging } from "selenium-webdriver";
import chrome from "selenium-webdriver/chrome.js";

const [reportFile, evaluationFile, screenshots] = process.argv.slice(2);
const url = pathToFileURL(path.resolve(reportFile)).href;
const evaluation = JSON.parse(readFileSync(evaluationFile, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const problems = [];
mkdirSync(screenshots, { recursive: true });

function startBrowser() {
  const options = new chrome.Options();
  options.setChromeBinaryPath(process.env.CHROMIUM ?? "/usr/bin/chromium");
  // The sandbox needs rights that containers lack, and /dev/shm is small in them.
  options.addArguments("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars");
  const logs = new logging.Preferences();
  logs.setLevel(logging.Type.BROWSER, logging.Level.ALL);
  logs.setLevel(logging.Type.PERFORMANCE, logging.Level.ALL);
  options.setLoggingPrefs(logs);
  const service = new chrome.ServiceBuilder(process.env.CHROMEDRIVER ?? "/usr/bin/chromedriver");
  return new Builder().forBrowser("chrome").setChromeOptions(options).setChromeService(service).build();
}

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

async function checkView(driver, theme, width) {
  const view = `${theme}, ${width} px`;
  await driver.sendDevToolsCommand("Emulation.setEmulatedMedia", {
    features: [{ name: "prefers-color-scheme", value: theme }],
  });
  await driver.sendDevToolsCommand("Emulation.setDeviceMetricsOverride", {
    width, height: 900, deviceScaleFactor: 1, mobile: false,
  });
  await driver.get(url);
  const wide = await driver.executeScript(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) problems.push(`${view}: the page is ${wide} px wider than the window`);
  await driver.executeScript(axe);
  const found = await driver.executeAsyncScript((done) =>
    axe.run(document, { resultTypes: ["violations"] }).then((result) => done(result.violations), (error) =>
      done([{ id: String(error), impact: "critical", nodes: [] }])));
  for (const { id, impact, nodes } of found) {
    const line = `${view}: axe: ${id} (${impact}) at ${nodes.slice(0, 3).map((node) => node.target.join(" ")).join("; ")}`;
    if (["serious", "critical"].includes(impact)) problems.push(line);
    else console.log(line);
  }
  const sections = await driver.findElements(By.css("main section"));
  if (sections.length === 0) problems.push("the page has no sections");
  for (const [index, section] of sections.entries()) {
    const name = (await section.getAttribute("id")) || String(index);
    // A section may be higher than the window, so the browser itself takes the picture.
    const box = await driver.executeScript((element) => {
      const { x, y, width, height } = element.getBoundingClientRect();
      return { x: x + window.scrollX, y: y + window.scrollY, width, height };
    }, section);
    if (box.width === 0 || box.height === 0) continue;
    const shot = await driver.sendAndGetDevToolsCommand("Page.captureScreenshot", {
      captureBeyondViewport: true, clip: { ...box, scale: 1 },
    });
    writeFileSync(path.join(screenshots, `${theme}-${width}-${index}-${name}.png`), Buffer.from(shot.data, "base64"));
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

async function checkLogs(driver) {
  for (const entry of await driver.manage().logs().get(logging.Type.BROWSER)) {
    problems.push(`console: ${entry.level.name}: ${entry.message}`);
  }
  for (const entry of await driver.manage().logs().get(logging.Type.PERFORMANCE)) {
    const { method, params } = JSON.parse(entry.message).message;
    if (method !== "Network.requestWillBeSent") continue;
    const target = params.request.url;
    if (target.split("#")[0] !== url && !target.startsWith("data:")) problems.push(`request: ${target}`);
  }
}

const driver = await startBrowser();
try {
  for (const theme of ["light", "dark"]) {
    for (const width of [1280, 360]) await checkView(driver, theme, width);
  }
  const figures = await checkFigures(driver);
  await checkCells(driver);
  await checkLogs(driver);
  console.log(`${figures} figures compared; screenshots are in ${screenshots}`);
} finally {
  await driver.quit();
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;

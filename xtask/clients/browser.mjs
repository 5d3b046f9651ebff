// A headless Chromium, and the checks that every page of this project must pass.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Builder, logging } from "selenium-webdriver";
import chrome from "selenium-webdriver/chrome.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** What was found to be wrong, a line each. */
export const problems = [];
/** Every page is looked at in these views. */
export const VIEWS = ["light", "dark"].flatMap((theme) => [1280, 360].map((width) => ({ theme, width })));
export const viewName = ({ theme, width }) => `${theme}-${width}`;

export function startBrowser(...more) {
  const options = new chrome.Options();
  options.setChromeBinaryPath(process.env.CHROMIUM ?? "/usr/bin/chromium");
  // The sandbox needs rights that containers lack, and /dev/shm is small in them.
  options.addArguments("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", ...more);
  const logs = new logging.Preferences();
  logs.setLevel(logging.Type.BROWSER, logging.Level.ALL);
  logs.setLevel(logging.Type.PERFORMANCE, logging.Level.ALL);
  options.setLoggingPrefs(logs);
  const service = new chrome.ServiceBuilder(process.env.CHROMEDRIVER ?? "/usr/bin/chromedriver");
  return new Builder().forBrowser("chrome").setChromeOptions(options).setChromeService(service).build();
}

/** The browser's theme and the width of its window from now on. */
export async function setView(driver, { theme, width }) {
  await driver.sendDevToolsCommand("Emulation.setEmulatedMedia", {
    features: [{ name: "prefers-color-scheme", value: theme }],
  });
  await driver.sendDevToolsCommand("Emulation.setDeviceMetricsOverride", {
    width, height: 900, deviceScaleFactor: 1, mobile: false,
  });
}

/** Nothing is wider than the window, and axe-core finds no serious violation. */
export async function checkLayout(driver, view) {
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
}

/** Takes a picture of an element. It may be higher than the window, so the browser itself takes the picture. */
export async function takePicture(driver, element, file) {
  const box = await driver.executeScript((element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return { x: x + window.scrollX, y: y + window.scrollY, width, height };
  }, element);
  if (box.width === 0 || box.height === 0) return;
  const shot = await driver.sendAndGetDevToolsCommand("Page.captureScreenshot", {
    captureBeyondViewport: true, clip: { ...box, scale: 1 },
  });
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, Buffer.from(shot.data, "base64"));
}

/** The browser reported nothing, but for expected messages, and requested nothing else. Returns the network's events. */
export async function checkLogs(driver, { isRequestAllowed, isMessageExpected = () => false }) {
  for (const entry of await driver.manage().logs().get(logging.Type.BROWSER)) {
    if (!isMessageExpected(entry.message)) problems.push(`console: ${entry.level.name}: ${entry.message}`);
  }
  const entries = await driver.manage().logs().get(logging.Type.PERFORMANCE);
  const events = entries.map((entry) => JSON.parse(entry.message).message);
  for (const { method, params } of events) {
    if (method !== "Network.requestWillBeSent") continue;
    const { url } = params.request;
    if (!url.startsWith("data:") && !isRequestAllowed(url)) problems.push(`request: ${url}`);
  }
  return events;
}

/** Prints the problems, and fails if there are any. */
export function finish() {
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length > 0 ? 1 : 0;
}

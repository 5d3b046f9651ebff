// Uses the server's page in headless Chromium: draws MNIST digits with mouse, finger, pen and keyboard, and tries
// pictures from files and a camera. The browser must report nothing and ask no other host, and axe-core must find no
// serious violation.
//
// usage: node page.mjs URL STROKES.json PICTURES SCREENSHOTS GUARDED_URL TOKEN
//
// PICTURES is a folder of PNG files whose names begin with their class: 3-1.png. The server at GUARDED_URL asks
// for TOKEN, and has the models "first" and "second".
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { By, Key } from "selenium-webdriver";
import { Command, Name } from "selenium-webdriver/lib/command.js";
import {
  VIEWS, checkLayout, checkLogs, finish, problems, setView, startBrowser, takePicture, viewName,
} from "./browser.mjs";

const [url, strokesFile, pictures, screenshots, guardedUrl, token] = process.argv.slice(2);
const digits = JSON.parse(readFileSync(strokesFile, "utf8"));
/** Of the 30 digits this many must be recognised. */
const LEAST_RIGHT = 27;
const SIDE = 28;
const WAIT = 30_000;
const POINTERS = ["mouse", "touch", "pen"];

const expect = (holds, problem) => {
  if (!holds) problems.push(problem);
};
const byId = (id) => driver.findElement(By.id(id));
const textOf = (id) => driver.executeScript((id) => document.getElementById(id).textContent, id);
const until = (condition, problem) => driver.wait(condition, WAIT, problem);

async function open() {
  await driver.get(url);
  await until(async () => (await textOf("about")).includes("classes"), "the page shows no model");
}

/** Waits for the answer to the drawing and for its heat. */
async function answered() {
  await until(async () => (await byId("scores").getAttribute("aria-busy")) === "false", "the drawing is not answered");
  return (await textOf("answer")).split(" ")[0];
}

/** Draws lines on the pad. `points` are in pixels of the picture. The pen is lifted at the end unless `isHeld`. */
async function draw(strokes, pointerType, isHeld = false) {
  const { x, y, side } = await driver.executeScript(() => {
    const pad = document.getElementById("pad");
    pad.scrollIntoView({ block: "center" });
    const { left, top } = pad.getBoundingClientRect();
    return { x: left + pad.clientLeft, y: top + pad.clientTop, side: pad.clientWidth };
  });
  const moved = ([px, py]) => ({
    type: "pointerMove", duration: 10, origin: "viewport", x: Math.round(x + (px * side) / SIDE), y: Math.round(y + (py * side) / SIDE),
  });
  const actions = strokes.flatMap((stroke, index) => [
    moved(stroke[0]),
    { type: "pointerDown", button: 0 },
    ...stroke.slice(1).map(moved),
    ...(isHeld && index === strokes.length - 1 ? [] : [{ type: "pointerUp", button: 0 }]),
  ]);
  const source = { type: "pointer", id: pointerType, parameters: { pointerType }, actions };
  await driver.execute(new Command(Name.ACTIONS).setParameter("actions", [source]));
}

async function checkDigits() {
  let right = 0;
  for (const [index, { index: image, label, strokes }] of digits.entries()) {
    await draw(strokes, POINTERS[index % POINTERS.length]);
    const found = await answered();
    if (found === label) right += 1;
    else console.log(`the ${label} of test image ${image} is taken for a ${found}`);
    await byId("clear").click();
    expect((await textOf("answer")) === "–", "the answer stays after Clear");
  }
  console.log(`${right} of ${digits.length} digits are right`);
  expect(right >= LEAST_RIGHT, `only ${right} of ${digits.length} digits are right`);
}

async function checkDrawing() {
  const [first, second] = [digits[0], digits[3]];
  await draw(first.strokes, "mouse", true);
  await until(async () => (await textOf("answer")) !== "–", "no probabilities while the pen is down");
  expect((await textOf("said")) === "", "a screen reader is disturbed while the pen is down");
  await driver.actions().clear();
  const label = await answered();
  const listed = await driver.executeScript(() => [...document.querySelectorAll("#scores li")].map((row) => row.textContent));
  expect(listed.length === 10 && listed.every((text) => /^\S+ +[\d.]+\s%$/.test(text.trim())), `the probabilities are listed as ${listed}`);
  expect((await textOf("said")).startsWith(`${label}, `), "the answer is not said");
  const sent = await pixelsOf("sent");
  await draw(second.strokes, "mouse");
  await answered();
  for (const _ of second.strokes) await byId("undo").click();
  await answered();
  expect((await pixelsOf("sent")) === sent, "Undo does not bring the drawing back");
  const heat = await driver.executeScript(() => {
    const { data } = document.getElementById("heat").getContext("2d").getImageData(0, 0, 224, 224);
    return data.some((value, at) => at % 4 === 0 && value > data[at + 2] + 60);
  });
  expect(heat, "no place of the heat is warm");
  await byId("clear").click();
}

/** The pixels of a canvas, as a PNG file in text. */
const pixelsOf = (id) => driver.executeScript((id) => document.getElementById(id).toDataURL(), id);

/** Presses Tab until the element of this id has the focus. */
async function tabTo(id) {
  for (let count = 0; count < 30; count += 1) {
    await driver.actions().sendKeys(Key.TAB).perform();
    if ((await driver.executeScript(() => document.activeElement.id)) === id) return;
  }
  problems.push(`the Tab key does not reach ${id}`);
}

const press = (...keys) => driver.actions().sendKeys(...keys).perform();

async function checkKeyboard() {
  await open();
  await tabTo("pad");
  await press(...Array(8).fill(Key.ARROW_UP), Key.SPACE, ...Array(16).fill(Key.ARROW_DOWN), Key.SPACE);
  const found = await answered();
  expect(found === "1", `a vertical line, drawn with keys, is taken for a ${found}`);
  await tabTo("clear");
  await press(Key.ENTER);
  expect((await textOf("answer")) === "–", "the enter key on Clear does nothing");
  await open();
  await tabTo("tab-draw");
  await press(Key.ARROW_RIGHT);
  const shown = await driver.executeScript(() => [document.activeElement.id, document.getElementById("photos").hidden]);
  expect(shown.join() === "tab-photos,false", `the arrow key on the tabs leads to ${shown}`);
  await tabTo("files");
  await tabTo("camera-open");
}

const cards = () => driver.executeScript(() =>
  [...document.querySelectorAll("#cards > li")].map((card) => ({
    name: card.querySelector("h3").textContent,
    label: card.querySelector(".state strong")?.textContent,
    failure: card.querySelector(".failed")?.textContent,
    rows: card.querySelectorAll(".scores li").length,
  })));

const allDone = (count) => until(async () => {
  const found = await cards();
  return found.length === count && found.every(({ label, failure }) => label || failure);
}, `${count} pictures are not answered`);

async function checkPictures(work) {
  await byId("tab-photos").click();
  const names = readdirSync(pictures).filter((name) => name.endsWith(".png")).sort();
  await byId("files").sendKeys(path.join(pictures, names[0]));
  await allDone(1);
  await until(async () => (await driver.findElements(By.css(".heat canvas"))).length === 1, "the picture has no heat");
  expect((await textOf("said")).startsWith(`${names[0]}: `), "the answer to a picture is not said");
  const odd = '=1+1, "a".png';
  writeFileSync(path.join(work, odd), readFileSync(path.join(pictures, names[1])));
  writeFileSync(path.join(work, "broken.png"), "no picture");
  const more = [...names.slice(1).map((name) => path.join(pictures, name)), path.join(work, odd), path.join(work, "broken.png")];
  await byId("files").sendKeys(more.join("\n"));
  await allDone(names.length + 2);
  const found = await cards();
  const right = found.filter(({ name, label }) => name[0] === label).length;
  expect(right >= names.length * 0.8, `only ${right} of ${names.length} pictures are right`);
  expect(found.every(({ rows, label }) => rows === (label ? 5 : 0)), "a picture has another number of labels than 5");
  const failed = found.filter(({ failure }) => failure);
  expect(failed.length === 1 && failed[0].name === "broken.png" && failed[0].failure.includes("JPEG"), `failures: ${JSON.stringify(failed)}`);
  await checkTable(work, found, odd);
}

async function checkTable(work, found, odd) {
  await driver.sendDevToolsCommand("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: work });
  await byId("csv").click();
  const file = path.join(work, "predictions.csv");
  // Chromium makes an empty file of this name first, and replaces it by the whole one.
  const isWhole = () => existsSync(file) && statSync(file).size > 0;
  await until(isWhole, "the table is not downloaded");
  const lines = readFileSync(file, "utf8").trimEnd().split("\r\n");
  expect(lines[0].startsWith("name,label,score,label_1,score_1,"), `the table begins with ${lines[0]}`);
  expect(lines.length === found.length + 1, `the table has ${lines.length} lines`);
  for (const [index, { name, label }] of found.entries()) {
    const start = `"${name.replaceAll('"', '""')}",${label ? `"${label}",` : ","}`;
    expect(lines[index + 1].startsWith(start), `a line of the table is ${lines[index + 1]}`);
  }
  expect(lines.some((line) => line.startsWith('"=1+1, ""a"".png",')), `${odd} is not in the table`);
  expect(/,"[^"]*JPEG[^"]*"$/.test(lines.at(-1)), `the failure is not in the table: ${lines.at(-1)}`);
}

/** Pictures that are dropped, pasted, or taken with the camera. */
async function checkOtherWays() {
  await byId("remove").click();
  await driver.executeScript(() => document.getElementById("tab-draw").click());
  await driver.executeAsyncScript((done) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
    canvas.toBlob((blob) => {
      const data = new DataTransfer();
      data.items.add(new File([blob], "dropped.png", { type: "image/png" }));
      document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
      const pasted = new DataTransfer();
      pasted.items.add(new File([blob], "pasted.png", { type: "image/png" }));
      document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData: pasted }));
      done();
    });
  });
  await allDone(2);
  await byId("camera-open").click();
  await until(async () => (await byId("camera")).isDisplayed(), "the camera does not open");
  await byId("camera-take").click();
  await allDone(3);
  const found = await cards();
  expect(found.map(({ name }) => name).join() === "dropped.png,pasted.png,camera-1.jpg", `pictures: ${JSON.stringify(found)}`);
  expect(found.every(({ label }) => label), "a picture of the camera, of a drop or of a paste is not answered");
  await byId("camera-close").click();
  const running = await driver.executeScript(() => document.getElementById("video").srcObject !== null);
  expect(!running, "the camera goes on after it was closed");
  await byId("remove").click();
}

/** A server that wants a token, and is busy at first. It is not really busy: these answers are made up. */
async function checkRefusals() {
  const { identifier } = await driver.sendAndGetDevToolsCommand("Page.addScriptToEvaluateOnNewDocument", {
    source: `(() => {
      const send = window.fetch;
      let busy = 2;
      window.fetch = (path, options) => {
        if (!path.startsWith("v1/predict") || busy === 0) return send(path, options);
        busy -= 1;
        return Promise.resolve(new Response('{"detail":"busy"}', { status: 503, headers: { "Retry-After": "1" } }));
      };
    })();`,
  });
  await driver.get(guardedUrl);
  await until(() => byId("token-form").isDisplayed(), "no token is asked for");
  await checkLayout(driver, "token");
  await byId("token").sendKeys("wrong", Key.ENTER);
  await until(async () => (await textOf("notice")).includes("refused"), "a wrong token is not refused in words");
  await byId("token").sendKeys(token, Key.ENTER);
  await until(async () => (await textOf("about")).includes("classes"), "the right token does not help");
  await draw(digits[0].strokes, "mouse");
  await until(async () => (await textOf("notice")).includes("busy"), "a busy server is not reported");
  const found = await answered();
  expect(found === digits[0].label, "the page does not try again");
  expect(!(await byId("notice").isDisplayed()), "the notice stays after the answer");
  await driver.navigate().refresh();
  await until(async () => (await textOf("about")).startsWith("first: "), "the token is forgotten");
  await draw(digits[0].strokes, "mouse");
  await answered();
  const asked = () => driver.executeScript(() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/v1/predict?model=second&")).length);
  expect((await asked()) === 0, "another model than the chosen one is asked");
  await byId("model").sendKeys("second");
  await until(async () => (await textOf("about")).startsWith("second: "), "the other model cannot be chosen");
  await answered();
  expect((await asked()) === 1, "the other model is not asked for the drawing");
  await driver.sendDevToolsCommand("Page.removeScriptToEvaluateOnNewDocument", { identifier });
}

/** Both parts in every view, and at the width at which WCAG wants no scrolling in two directions. */
async function checkViews() {
  await setView(driver, { theme: "light", width: 320 });
  await open();
  await checkLayout(driver, "320 px, drawing");
  await byId("tab-photos").click();
  await checkLayout(driver, "320 px, pictures");
  for (const view of VIEWS) {
    await setView(driver, view);
    await open();
    const name = viewName(view);
    const body = () => driver.findElement(By.css("body"));
    await checkLayout(driver, `${name}, empty`);
    await draw(digits[9].strokes, "mouse");
    await answered();
    await checkLayout(driver, `${name}, drawn`);
    await takePicture(driver, await body(), path.join(screenshots, `page-${name}-draw.png`));
    await byId("tab-photos").click();
    await checkLayout(driver, `${name}, no pictures`);
    const files = readdirSync(pictures).filter((file) => file.endsWith(".png")).sort().slice(0, 5);
    await byId("files").sendKeys(files.map((file) => path.join(pictures, file)).join("\n"));
    await allDone(files.length);
    await until(async () => (await driver.findElements(By.css(".heat canvas"))).length > 0, "no heat");
    await checkLayout(driver, `${name}, pictures`);
    await takePicture(driver, await body(), path.join(screenshots, `page-${name}-pictures.png`));
  }
}

/** The browser's id of the page that is shown. */
let page = null;

/** The largest number of requests to the models that a page made at the same time. */
function mostAtOnce(events) {
  const open = new Set();
  let most = 0;
  for (const { method, params } of events) {
    if (method === "Network.requestWillBeSent") {
      if (params.type === "Document") {
        page = params.loaderId;
        open.clear();
      }
      // A page that is left may still send something, and its end is not reported.
      if (params.loaderId === page && params.request.url.includes("/v1/")) open.add(params.requestId);
    }
    if (["Network.loadingFinished", "Network.loadingFailed"].includes(method)) open.delete(params.requestId);
    most = Math.max(most, open.size);
  }
  return most;
}

/** `refused` is the status of a refusal that was provoked: the browser reports it. */
async function checkRequests(part, limit, { base = url, refused } = {}) {
  const isRequestAllowed = (target) => target.startsWith(base) || target.startsWith(`blob:${base}`);
  const isMessageExpected = (message) => refused !== undefined && message.includes(`/v1/`) && message.includes(`status of ${refused}`);
  const most = mostAtOnce(await checkLogs(driver, { isRequestAllowed, isMessageExpected }));
  expect(most > 0 && most <= limit, `${part}: ${most} requests at the same time`);
}

const driver = await startBrowser("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream");
const work = mkdtempSync(path.join(tmpdir(), "page-"));
mkdirSync(screenshots, { recursive: true });
try {
  await setView(driver, VIEWS[0]);
  await open();
  await checkDigits();
  await checkDrawing();
  await checkKeyboard();
  await checkRequests("drawing", 1);
  await checkPictures(work);
  await checkRequests("pictures", 2, { refused: 400 });
  await checkOtherWays();
  await checkRequests("other ways", 2);
  await checkRefusals();
  await checkRequests("refusals", 1, { base: guardedUrl, refused: 401 });
  await checkViews();
  await checkRequests("views", 2);
  console.log(`the page was used in every way; screenshots are in ${screenshots}`);
} finally {
  await driver.quit();
}
finish();

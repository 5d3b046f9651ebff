// A pad to draw on, with mouse, finger, pen or keyboard.

import { PEN, SIDE } from "./mnist.js";

/** Steps of the keyboard's cursor, in shares of the pad. */
const STEP = 1 / 20;
const SMALL_STEP = 1 / 80;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad {
  /** Lists of points `[x, y]`, from 0 to 1. */
  strokes = [];
  #canvas;
  #events;
  /** The pointer that draws, or null. */
  #pointer = null;
  #cursor = [0.5, 0.5];
  #isCursorShown = false;
  #isPenDown = false;

  /** `events`: `changed()` at every new point, `lifted()` when a line or a change is complete, `say(text)`. */
  constructor(canvas, events) {
    this.#canvas = canvas;
    this.#events = events;
    const on = (name, handle) => canvas.addEventListener(name, handle);
    on("pointerdown", (event) => this.#begin(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#end(event));
    on("pointercancel", (event) => this.#end(event));
    on("keydown", (event) => this.#key(event));
    on("focus", () => this.#showCursor(canvas.matches(":focus-visible")));
    on("blur", () => {
      this.#liftPen();
      this.#showCursor(false);
    });
    new ResizeObserver(() => this.#draw()).observe(canvas);
  }

  undo() {
    if (this.strokes.length === 0) return;
    this.#isPenDown = false;
    this.#pointer = null;
    this.strokes.pop();
    this.#finish();
  }

  clear() {
    this.#isPenDown = false;
    this.#pointer = null;
    this.strokes = [];
    this.#finish();
  }

  #finish() {
    this.#draw();
    this.#events.changed();
    this.#events.lifted();
  }

  #place(event) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height].map((share) => Math.min(Math.max(share, 0), 1));
  }

  #begin(event) {
    if (event.button !== 0 || this.#pointer !== null) return;
    this.#liftPen();
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#showCursor(false);
    this.strokes.push([this.#place(event)]);
    this.#draw();
    this.#events.changed();
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    const stroke = this.strokes.at(-1);
    for (const move of moves.length > 0 ? moves : [event]) stroke.push(this.#place(move));
    this.#draw();
    this.#events.changed();
  }

  #end(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#events.lifted();
  }

  #key(event) {
    const arrow = ARROWS[event.key];
    const key = event.key.toLowerCase();
    if (event.altKey || ((event.ctrlKey || event.metaKey) && key !== "z")) return;
    if (arrow) this.#moveCursor(arrow, event.shiftKey ? SMALL_STEP : STEP);
    else if (key === " " && !event.repeat) this.#isPenDown ? this.#liftPen() : this.#putPenDown();
    else if (key === "escape") this.#liftPen();
    else if (key === "u" || (key === "z" && (event.ctrlKey || event.metaKey))) this.undo();
    else if (key === "delete" || key === "backspace") this.clear();
    else if (key !== " ") return;
    event.preventDefault();
    this.#showCursor(true);
  }

  #moveCursor(arrow, step) {
    this.#cursor = this.#cursor.map((at, axis) => Math.min(Math.max(at + arrow[axis] * step, 0), 1));
    if (!this.#isPenDown) return;
    this.strokes.at(-1).push(this.#cursor);
    this.#events.changed();
  }

  #putPenDown() {
    this.#isPenDown = true;
    this.strokes.push([this.#cursor]);
    const [x, y] = this.#cursor.map((share) => Math.round(100 * share));
    this.#events.say(`Pen down, ${x} percent from the left, ${y} percent from the top.`);
    this.#events.changed();
  }

  #liftPen() {
    if (!this.#isPenDown) return;
    this.#isPenDown = false;
    this.#events.say("Pen up.");
    this.#draw();
    this.#events.lifted();
  }

  #showCursor(isShown) {
    this.#isCursorShown = isShown;
    this.#draw();
  }

  #draw() {
    const canvas = this.#canvas;
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (side === 0) return;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, side, side);
    context.strokeStyle = "#fff";
    context.lineWidth = (side * PEN) / SIDE;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      // A line to its own start is a dot.
      for (const [x, y] of [stroke[0], ...stroke]) context.lineTo(x * side, y * side);
      context.stroke();
    }
    if (this.#isCursorShown) this.#drawCursor(context, side);
  }

  /** A ring that is seen on black and on white; filled if the pen is down. */
  #drawCursor(context, side) {
    const [x, y] = this.#cursor.map((share) => share * side);
    const unit = side / 100;
    context.beginPath();
    context.arc(x, y, 4 * unit, 0, 2 * Math.PI);
    if (this.#isPenDown) {
      context.fillStyle = "#0b62a4";
      context.fill();
    }
    context.lineWidth = 2.4 * unit;
    context.strokeStyle = "#000";
    context.stroke();
    context.lineWidth = 1.2 * unit;
    context.strokeStyle = "#8cc4f5";
    context.stroke();
  }
}

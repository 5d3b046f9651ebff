// Small helpers for the page's elements.

/** The element of this id. */
export const byId = (id) => document.getElementById(id);

/** A new element. Properties are set as such; a name with a dash becomes an attribute. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** A probability as text. */
export const percent = (score) => `${(100 * score).toFixed(1)}\u00a0%`;

/** A row of a list of probabilities: label, bar and number. `set` changes the number; without one, the row is empty. */
export function scoreRow(label, score) {
  const bar = element("span", { className: "level" });
  const number = element("span", { className: "number" });
  const track = element("span", { className: "track", "aria-hidden": "true" }, bar);
  const row = element("li", {}, element("span", { className: "label", textContent: label }), " ", track, " ", number);
  const set = (value) => {
    bar.style.width = `${100 * (value ?? 0)}%`;
    number.textContent = value === undefined ? "–" : percent(value);
  };
  set(score);
  return { row, set };
}

/** Says a sentence to a screen reader. The region is polite: the sentence waits until the reader is silent. */
export function say(text) {
  byId("said").textContent = text;
}

/** Shows a problem above the page's parts, or removes it. */
export function notice(text = "") {
  const place = byId("notice");
  if (place.textContent !== text) place.textContent = text;
  place.hidden = text === "";
}

/**
 * Runs one call at a time. Of the values that are offered meanwhile, only the newest is used afterwards: nothing queues up.
 */
export function newestOnly(run) {
  let running = false;
  let next = null;
  return async (value) => {
    next = { value };
    if (running) return;
    running = true;
    try {
      while (next) {
        const { value: newest } = next;
        next = null;
        await run(newest, () => next !== null);
      }
    } finally {
      running = false;
    }
  };
}

/** Runs at most `width` tasks at a time. Tasks that are `urgent` come before the others. */
export class Lanes {
  #free;
  #urgent = [];
  #others = [];

  constructor(width) {
    this.#free = width;
  }

  add(task, urgent = true) {
    (urgent ? this.#urgent : this.#others).push(task);
    this.#start();
  }

  /** Forgets the tasks that have not begun. */
  clear() {
    this.#urgent = [];
    this.#others = [];
  }

  #start() {
    while (this.#free > 0) {
      const task = this.#urgent.shift() ?? this.#others.shift();
      if (!task) return;
      this.#free -= 1;
      task().finally(() => {
        this.#free += 1;
        this.#start();
      });
    }
  }
}

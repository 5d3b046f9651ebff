// A table of answers as a file (RFC 4180).

/** The number of labels in a row. */
export const TOP = 5;

/** Text is always in quotes, so that a comma, a quote or a line break in a name stays part of it. */
const text = (value) => `"${String(value).replaceAll('"', '""')}"`;

/** Rows of `{ name, top_k }` or `{ name, error }`. */
export function csv(rows) {
  const places = Array.from({ length: TOP }, (_, index) => index);
  const head = ["name", "label", "score", ...places.flatMap((place) => [`label_${place + 1}`, `score_${place + 1}`]), "error"];
  const lines = rows.map(({ name, top_k = [], error }) => {
    const pair = (entry) => (entry ? [text(entry.label), entry.score] : ["", ""]);
    const pairs = places.flatMap((place) => pair(top_k[place]));
    return [text(name), ...pair(top_k[0]), ...pairs, error ? text(error) : ""];
  });
  return [head, ...lines].map((line) => `${line.join(",")}\r\n`).join("");
}

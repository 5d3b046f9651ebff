// Prepares a drawing as the digits of MNIST were prepared (LeCun et al. 1998): the ink is scaled to fit a box of 20 × 20
// pixels with its proportions kept, has smooth edges, and is moved by whole pixels so that its centre of mass is in the
// middle of 28 × 28 pixels. White on black.

export const SIDE = 28;
const BOX = 20;
/** Width of the lines, in pixels of the picture. */
export const PEN = 2.6;
/** A drawing smaller than this share of the pad is not enlarged to the whole box: it may be a dot. */
const LEAST = 0.08;

/**
 * The pixels of a drawing, row by row. `strokes` are lists of points `[x, y]` from 0 to 1, the pad's corners.
 * `null` if there is no point.
 */
export function digit(strokes) {
  const points = strokes.flat();
  if (points.length === 0) return null;
  const [left, right] = range(points.map(([x]) => x));
  const [top, bottom] = range(points.map(([, y]) => y));
  const [width, height] = [right - left, bottom - top];
  const scale = (BOX - PEN) / Math.max(width, height, LEAST);
  // The box's own middle is in the middle of the picture at first.
  const middle = (from, length) => SIDE / 2 - scale * (from + length / 2);
  const [dx, dy] = [middle(left, width), middle(top, height)];
  const placed = strokes.map((stroke) => stroke.map(([x, y]) => [scale * x + dx, scale * y + dy]));
  return centred(drawn(placed));
}

/** The picture as a file: a portable graymap, which holds the pixels as they are. */
export function graymap(pixels) {
  return new Blob([`P5 ${SIDE} ${SIDE} 255\n`, pixels], { type: "image/x-portable-graymap" });
}

function range(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

/** Lines with round ends. A pixel at the edge of a line is as bright as it is covered. */
function drawn(strokes) {
  const pixels = new Uint8Array(SIDE * SIDE);
  const radius = PEN / 2;
  const reach = radius + 1;
  for (const stroke of strokes) {
    for (let index = 0; index < stroke.length; index += 1) {
      const [a, b] = [stroke[Math.max(index - 1, 0)], stroke[index]];
      const [rows, columns] = [inside(a[1], b[1], reach), inside(a[0], b[0], reach)];
      for (let y = rows.from; y < rows.to; y += 1) {
        for (let x = columns.from; x < columns.to; x += 1) {
          const covered = radius + 0.5 - distance([x + 0.5, y + 0.5], a, b);
          const value = Math.round(255 * Math.min(Math.max(covered, 0), 1));
          const at = y * SIDE + x;
          pixels[at] = Math.max(pixels[at], value);
        }
      }
    }
  }
  return pixels;
}

/** The pixels between two coordinates, and `reach` around them. */
function inside(a, b, reach) {
  return {
    from: Math.max(Math.floor(Math.min(a, b) - reach), 0),
    to: Math.min(Math.ceil(Math.max(a, b) + reach), SIDE),
  };
}

/** The distance of a point to the line from `a` to `b`. */
function distance([x, y], [ax, ay], [bx, by]) {
  const [lx, ly] = [bx - ax, by - ay];
  const length = lx * lx + ly * ly;
  const along = length > 0 ? Math.min(Math.max(((x - ax) * lx + (y - ay) * ly) / length, 0), 1) : 0;
  return Math.hypot(x - ax - along * lx, y - ay - along * ly);
}

/** Moves the ink by whole pixels until its centre of mass is in the middle. No ink leaves the picture. */
function centred(pixels) {
  let [mass, sumX, sumY] = [0, 0, 0];
  const [xs, ys] = [[], []];
  pixels.forEach((value, at) => {
    if (value === 0) return;
    const [x, y] = [at % SIDE, Math.floor(at / SIDE)];
    mass += value;
    sumX += value * x;
    sumY += value * y;
    xs.push(x);
    ys.push(y);
  });
  // MNIST's centres of mass lie within half a pixel of the pixel with index 14.
  const shift = (sum, places) => {
    const [first, last] = range(places);
    return Math.min(Math.max(Math.round(SIDE / 2 - sum / mass), -first), SIDE - 1 - last);
  };
  const [dx, dy] = [shift(sumX, xs), shift(sumY, ys)];
  const moved = new Uint8Array(SIDE * SIDE);
  pixels.forEach((value, at) => {
    if (value > 0) moved[at + dy * SIDE + dx] = value;
  });
  return moved;
}

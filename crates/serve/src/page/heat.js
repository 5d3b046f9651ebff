// The map of an explanation over the picture, as `classify predict --explain` draws it.

/** matplotlib's colour map "inferno" at equal distances, red, green and blue. */
const INFERNO = [
  "000004", "0b0724", "210c4a", "3d0965", "57106e", "71196e", "8a226a", "a32c61", "bc3754",
  "d24644", "e45a31", "f1731d", "f98e09", "fcac11", "f9cb35", "f2ea69", "fcffa4",
].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
/** The lower end of the colours is too dark to be seen over a picture. */
const LOWEST = 0.45;
/** The brightness that is left of the picture, and the opacity of the map's maximum. */
const DIMMED = 0.5;
const OPACITY = 0.8;
/** Small pictures are enlarged to at least this side, with sharp pixels. */
const LEAST_SIDE = 224;

/** The picture of a data URL, loaded. */
export async function loaded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

/** Draws a picture as it is. */
export function drawPicture(canvas, image) {
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
}

/** Draws the map of an explanation (`map`: `height` rows of `width` numbers from 0 to 1) over the picture. */
export function drawHeat(canvas, image, { map, height: rows, width: columns }) {
  const { naturalWidth, naturalHeight } = image;
  const factor = Math.ceil(LEAST_SIDE / Math.max(naturalWidth, naturalHeight, 1));
  const [width, height] = [naturalWidth * factor, naturalHeight * factor];
  canvas.width = width;
  canvas.height = height;
  // A canvas that was shown may be in the memory of a GPU, from which reading is slow.
  const sheet = Object.assign(document.createElement("canvas"), { width, height });
  const context = sheet.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, width, height);
  const picture = context.getImageData(0, 0, width, height);
  const [across, down] = [between(width, columns), between(height, rows)];
  for (let y = 0; y < height; y += 1) {
    const [above, below, share] = down[y];
    for (let x = 0; x < width; x += 1) {
      const [left, right, part] = across[x];
      const along = (row) => mix(map[row * columns + left], map[row * columns + right], part);
      blend(picture.data, 4 * (y * width + x), mix(along(above), along(below), share));
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

const mix = (a, b, share) => a + (b - a) * share;

/** For each pixel the two places around it, and the share of the second. */
function between(size, count) {
  return Array.from({ length: size }, (_, pixel) => {
    const at = Math.min(Math.max(((pixel + 0.5) * count) / size - 0.5, 0), count - 1);
    const first = Math.floor(at);
    return [first, Math.min(first + 1, count - 1), at - first];
  });
}

function blend(data, at, value) {
  const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  const place = (LOWEST + (1 - LOWEST) * value) * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  for (let channel = 0; channel < 3; channel += 1) {
    const colour = mix(INFERNO[low][channel], INFERNO[low + 1][channel], place - low);
    const under = (DIMMED * (grey + data[at + channel])) / 2;
    data[at + channel] = mix(under, colour, OPACITY * value);
  }
}

// Pixels as the model takes them, as contract.json says: transparency, grey, size, inversion.

import { resized } from './resize.js';

// Returns { pixels: uint8 [height, width, channels], inverted } of { width, height, rgba }.
// invert: 'auto' (by the border, where the model learnt bright things on a dark background), 'yes' or 'no'.
export function preprocessed(picture, contract, invert) {
  const { dark_background: dark, picture_fit: fit } = contract.preprocessing;
  const [height, width, channels] = contract.input.shape.slice(1);
  if (invert === 'auto' && !dark) invert = 'no';
  const stretch = fit === 'stretch';
  const background = invert === 'no' && !stretch ? 0 : 255;
  const flat = channels === 4 ? picture.rgba : opaque(picture.rgba, background, channels);
  const size = stretch ? [width, height] : fitted(picture, width, height);
  const filter = stretch ? 'bilinear' : 'lanczos';
  const source = channels === 4 ? premultiplied(flat, size, picture) : flat;
  let inner = Uint8Array.from(resized(source, picture.width, picture.height, channels, ...size, filter));
  if (source !== flat) inner = divided(inner);
  const inverted = invert === 'yes' || (invert === 'auto' && borderLevel(inner, ...size, channels) > 127);
  if (inverted) inner = inner.map((level, place) => (channels === 4 && place % 4 === 3 ? level : 255 - level));
  return { pixels: centred(inner, size, width, height, channels), inverted };
}

// Half goes to the even number, as in numpy and Python.
export function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

function fitted(picture, width, height) {
  const factor = Math.min(height / picture.height, width / picture.width);
  return [picture.width, picture.height].map((side) => Math.max(1, roundHalfEven(side * factor)));
}

// Pillow's division by 255 with rounding.
const by255 = (value) => ((value >> 8) + value) >> 8;

// Returns the picture over a level of grey, in one channel or three (Pillow: AlphaComposite.c, Convert.c).
function opaque(rgba, background, channels) {
  const result = new Uint8Array((rgba.length / 4) * channels);
  const over = (level, alpha) => {
    if (alpha === 255) return level;
    if (alpha === 0) return background;
    const weight = alpha << 7;
    return by255(level * weight + background * ((255 << 7) - weight) + (0x80 << 7)) >> 7;
  };
  for (let at = 0, out = 0; at < rgba.length; at += 4) {
    const alpha = rgba[at + 3];
    const [red, green, blue] = [over(rgba[at], alpha), over(rgba[at + 1], alpha), over(rgba[at + 2], alpha)];
    if (channels === 1) result[out++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    else {
      result[out++] = red;
      result[out++] = green;
      result[out++] = blue;
    }
  }
  return result;
}

// Colours of transparent parts must not bleed: Pillow multiplies by the opacity before it resizes, and divides after.
function premultiplied(rgba, [width, height], picture) {
  if (width === picture.width && height === picture.height) return rgba;
  return rgba.map((level, place) => (place % 4 === 3 ? level : by255(level * rgba[place | 3] + 128)));
}

function divided(rgba) {
  return rgba.map((level, place) => {
    const alpha = rgba[place | 3];
    return place % 4 === 3 || alpha === 0 || alpha === 255 ? level : Math.min(255, Math.trunc((255 * level) / alpha));
  });
}

// Returns the median of the outermost pixels' colours.
function borderLevel(pixels, width, height, channels) {
  const levels = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (y && x && y < height - 1 && x < width - 1) continue;
      const at = (y * width + x) * channels;
      levels.push(...pixels.subarray(at, at + Math.min(channels, 3)));
    }
  }
  levels.sort((one, two) => one - two);
  const middle = levels.length >> 1;
  return levels.length % 2 ? levels[middle] : (levels[middle - 1] + levels[middle]) / 2;
}

function centred(inner, [innerWidth, innerHeight], width, height, channels) {
  const pixels = new Uint8Array(width * height * channels);
  const [top, left] = [(height - innerHeight) >> 1, (width - innerWidth) >> 1];
  const line = innerWidth * channels;
  for (let y = 0; y < innerHeight; y++) {
    pixels.set(inner.subarray(y * line, (y + 1) * line), ((top + y) * width + left) * channels);
  }
  return pixels;
}

// Pixels as the model takes them, by the steps of contract.json: transparency, channels, size, inversion, padding.

import { resized } from './resize.js';

const ORDERS = { 1: ['grey'], 3: ['rgb', 'bgr'], 4: ['rgba'] };

// Returns the steps of a contract by name. Throws where they are others than this page carries out.
export function stepsOf(contract) {
  const { input, preprocessing, schema_version: version } = contract;
  if (version !== 3) throw new Error(`The contract is of version ${version}; this page reads version 3.`);
  const said = Object.fromEntries(preprocessing.steps.map((step) => [step.step, step]));
  const choice = (step, key, known) => (known.includes(said[step]?.[key]) ? said[step][key] : known[0]);
  const known = [];
  const levels = !preprocessing.no_pixels;
  const { dtype, scale, zero_point } = input;
  if (levels && input.shape.length === 4 && ORDERS[input.shape[3]]) {
    const [height, width, channels] = input.shape.slice(1);
    const order = choice('channels', 'order', ORDERS[channels]);
    const filter = choice('resize', 'filter', ['bilinear', 'nearest', 'box', 'bicubic', 'lanczos']);
    const fit = choice('resize', 'fit', ['stretch', 'contain', 'cover']);
    const level = said.pad?.background;
    const background = Number.isInteger(level) && level >= 0 && level <= 255 ? level : 0;
    known.push({ step: 'decode', frame: 'first', bits: 8, deeper: 'high_byte', colour_profile: 'ignored' });
    known.push({ step: 'orient', by: 'exif' });
    if (channels < 4) known.push({ step: 'alpha', over: choice('alpha', 'over', ['white', 'black', 'auto']) });
    known.push({ step: 'channels', order, ...(channels === 1 && { weights: 'bt601' }) });
    known.push({ step: 'resize', height, width, fit, filter, antialias: filter !== 'nearest' });
    known.push({ step: 'invert', when: choice('invert', 'when', ['asked', 'light_border', 'always']) });
    if (fit === 'contain') known.push({ step: 'pad', height, width, place: 'centre', background });
  }
  if (levels && (scale !== null || dtype.startsWith('float'))) {
    known.push({ step: 'range', mean: said.range?.mean, std: said.range?.std });
  }
  if (scale !== null) known.push({ step: 'quantise', dtype, scale, zero_point });
  const places = Math.max(known.length, preprocessing.steps.length);
  for (let place = 0; place < places; place++) {
    const [found, wanted] = [preprocessing.steps[place], known[place]];
    if (found && wanted && same(found, wanted)) continue;
    const shown = (step) => (step ? JSON.stringify(step) : 'nothing');
    throw new Error(`Step ${place + 1} of the contract is ${shown(found)}; this page carries out ${shown(wanted)} there.`);
  }
  return said;
}

function same(one, two) {
  const keys = Object.keys(one);
  return keys.length === Object.keys(two).length && keys.every((key) => one[key] === two[key]);
}

// Returns { pixels: uint8 [height, width, channels], inverted } of { width, height, rgba }, upright.
// invert: 'auto' (as the steps say), 'yes' or 'no'.
export function preprocessed(picture, contract, invert) {
  const steps = stepsOf(contract);
  const [height, width, channels] = contract.input.shape.slice(1);
  if (invert === 'auto') invert = { light_border: 'auto', always: 'yes', asked: 'no' }[steps.invert.when];
  const over = steps.alpha?.over;
  const black = over === 'black' || (over === 'auto' && invert === 'no');
  const flat = channels === 4 ? picture.rgba : opaque(picture.rgba, black ? 0 : 255, channels);
  const { part, from, size } = placed(flat, picture, steps.resize, channels);
  const weighted = channels === 4 && steps.resize.filter !== 'nearest' && String(from) !== String(size);
  let inner = resized(weighted ? premultiplied(part) : part, ...from, channels, ...size, steps.resize.filter);
  inner = weighted ? divided(Uint8Array.from(inner)) : Uint8Array.from(inner);
  const inverted = invert === 'yes' || (invert === 'auto' && borderLevel(inner, ...size, channels) > 127);
  if (inverted) inner = inner.map((level, place) => (channels === 4 && place % 4 === 3 ? level : 255 - level));
  if (steps.channels.order === 'bgr') inner = reversed(inner);
  return { pixels: steps.pad ? padded(inner, size, steps.pad, channels) : inner, inverted };
}

// Returns the part of a picture that is taken, its [width, height], and the one that it gets.
function placed(pixels, { width: wide, height: high }, { height, width, fit }, channels) {
  const [from, size] = [[wide, high], [width, height]];
  if (fit === 'contain') {
    const factor = Math.min(height / high, width / wide);
    return { part: pixels, from, size: from.map((side) => Math.max(1, roundHalfEven(side * factor))) };
  }
  if (fit === 'stretch') return { part: pixels, from, size };
  const across = Math.max(1, Math.min(wide, Math.floor((high * width) / height)));
  const down = Math.max(1, Math.min(high, Math.floor((wide * height) / width)));
  const [left, top] = [(wide - across) >> 1, (high - down) >> 1];
  const part = new Uint8Array(across * down * channels);
  for (let row = 0; row < down; row++) {
    const start = ((top + row) * wide + left) * channels;
    part.set(pixels.subarray(start, start + across * channels), row * across * channels);
  }
  return { part, from: [across, down], size };
}

// Returns pixels of three channels in the other order: blue, green, red for red, green, blue, and back.
export function reversed(pixels) {
  return pixels.map((_, place) => pixels[place + 2 - 2 * (place % 3)]);
}

// Half goes to the even number, as in numpy and Python.
export function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
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
function premultiplied(rgba) {
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

function padded(inner, [innerWidth, innerHeight], { height, width, background }, channels) {
  const pixels = new Uint8Array(width * height * channels).fill(background);
  const [top, left] = [(height - innerHeight) >> 1, (width - innerWidth) >> 1];
  const line = innerWidth * channels;
  for (let y = 0; y < innerHeight; y++) {
    pixels.set(inner.subarray(y * line, (y + 1) * line), ((top + y) * width + left) * channels);
  }
  return pixels;
}

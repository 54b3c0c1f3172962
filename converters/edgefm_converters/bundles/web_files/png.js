// PNG files, decoded here: a canvas multiplies colours by their opacity and rounds, and browsers turn 16 bits a level
// and colour profiles into something else than Pillow does.

import { inflatedStart } from './bytes.js';
import { orientationOf } from './exif.js';

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }; // a pixel, by colour type

export const isPng = (bytes) => SIGNATURE.every((value, place) => bytes[place] === value);

// Returns { width, height, rgba, orientation }; null where it is interlaced. Throws where the file is damaged.
export async function readPng(bytes, largest) {
  const chunks = chunksOf(bytes);
  const head = chunks.IHDR?.[0];
  if (!head || head.length < 13 || !chunks.IDAT) throw new Error('the PNG is damaged');
  const view = new DataView(head.buffer, head.byteOffset);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  const [depth, colour, , , interlaced] = head.subarray(8);
  if (!width || !height || !SAMPLES[colour]) throw new Error('the PNG is damaged');
  if (width * height > largest) throw new Error(`${width} x ${height} pixels are too many`);
  if (interlaced) return null;
  const packed = new Uint8Array(await new Blob(chunks.IDAT).arrayBuffer());
  const bits = depth * SAMPLES[colour];
  const raw = await inflatedStart(packed, 'deflate', height * (Math.ceil((width * bits) / 8) + 1));
  const lines = unfiltered(raw, { width, height, bits });
  const rgba = coloured(lines, { width, height, depth, colour, palette: chunks.PLTE?.[0], clear: chunks.tRNS?.[0] });
  return { width, height, rgba, orientation: chunks.eXIf ? orientationOf(chunks.eXIf[0]) : 1 };
}

function chunksOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = {};
  for (let place = 8; place + 12 <= bytes.length; ) {
    const length = view.getUint32(place);
    const name = String.fromCharCode(...bytes.subarray(place + 4, place + 8));
    if (place + 12 + length > bytes.length) throw new Error('the PNG is cut off');
    (chunks[name] ??= []).push(bytes.subarray(place + 8, place + 8 + length));
    place += 12 + length;
    if (name === 'IEND') break;
  }
  return chunks;
}

// Returns the lines without their filters (PNG specification, section 9).
function unfiltered(raw, { width, height, bits }) {
  const stride = Math.ceil((width * bits) / 8);
  const step = Math.max(1, bits >> 3);
  if (raw.length < height * (stride + 1)) throw new Error('the PNG is cut off');
  const lines = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    const from = y * (stride + 1) + 1;
    const to = y * stride;
    for (let x = 0; x < stride; x++) {
      const left = x >= step ? lines[to + x - step] : 0;
      const up = y ? lines[to + x - stride] : 0;
      const corner = x >= step && y ? lines[to + x - step - stride] : 0;
      lines[to + x] = raw[from + x] + predicted(filter, left, up, corner);
    }
  }
  return lines;
}

function predicted(filter, left, up, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) throw new Error('the PNG is damaged');
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

// Of 16 bits a level the upper 8 count, as in Pillow.
function coloured(lines, { width, height, depth, colour, palette, clear }) {
  const rgba = new Uint8Array(width * height * 4).fill(255);
  const samples = SAMPLES[colour];
  const stride = Math.ceil((width * depth * samples) / 8);
  const bytes = depth / 8;
  const spread = depth < 8 && colour === 0 ? 255 / ((1 << depth) - 1) : 1;
  const mask = (1 << depth) - 1;
  const clearAt = Array.from({ length: (clear?.length ?? 0) >> 1 }, (_, i) => clear[2 * i] * 256 + clear[2 * i + 1]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const out = (y * width + x) * 4;
      if (depth < 8) {
        const bit = x * depth;
        const value = (lines[y * stride + (bit >> 3)] >> (8 - depth - (bit & 7))) & mask;
        if (colour === 3) lookUp(rgba, out, value, palette, clear);
        else {
          rgba.fill(value * spread, out, out + 3);
          if (clearAt.length && value * (depth === 1 ? 1 : spread) === clearAt[0]) rgba[out + 3] = 0;
        }
        continue;
      }
      const at = y * stride + x * samples * bytes;
      const sample = (place) => lines[at + place * bytes];
      if (colour === 3) lookUp(rgba, out, sample(0), palette, clear);
      else if (colour === 0 || colour === 4) rgba.fill(sample(0), out, out + 3);
      else for (let place = 0; place < 3; place++) rgba[out + place] = sample(place);
      if (colour === 4) rgba[out + 3] = sample(1);
      if (colour === 6) rgba[out + 3] = sample(3);
      if (colour === 0 && depth === 8 && sample(0) === clearAt[0]) rgba[out + 3] = 0;
      if (colour === 2 && clearAt.length >= 3 && clearAt.every((level, place) => level === sample(place))) rgba[out + 3] = 0;
    }
  }
  return rgba;
}

function lookUp(rgba, out, index, palette, clear) {
  for (let place = 0; place < 3; place++) rgba[out + place] = palette?.[3 * index + place] ?? 0;
  rgba[out + 3] = clear?.[index] ?? 255;
}

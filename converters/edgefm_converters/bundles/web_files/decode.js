// A file as pixels, upright: PNG exactly as Pillow reads it, all else by the browser's own decoder.

import { upright } from './exif.js';
import { isPng, readPng } from './png.js';
import { pictureSize } from './size.js';

export const LARGEST = 50_000_000; // pixels: a larger picture would take more memory than a phone has
const LARGEST_FILE = 250_000_000; // bytes
const TILE = 2048; // a canvas has a largest size, a picture has none

// Returns { width, height, rgba }. Throws an error whose message is for a person.
export async function decoded(file) {
  if (file.size > LARGEST_FILE) throw new Error(`This file has ${Math.round(file.size / 1e6)} MB, which are too many.`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPng(bytes)) {
    let picture;
    try {
      picture = await readPng(bytes, LARGEST);
    } catch (error) {
      throw new Error(`This picture cannot be read: ${error?.message || 'the PNG is damaged'}.`);
    }
    if (picture) return upright(picture);
  } else {
    const size = pictureSize(bytes);
    if (!size) throw new Error('This page cannot read the file as a picture: it takes PNG, JPEG, WebP, GIF, BMP and AVIF.');
    checkSize(size);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: 'from-image',
      premultiplyAlpha: 'none',
      colorSpaceConversion: 'none',
    });
  } catch {
    throw new Error('This browser cannot read the file as a picture. A PNG or a JPEG works everywhere.');
  }
  const { width, height } = bitmap;
  try {
    checkSize(bitmap); // what its head said may not be true
    return { width, height, rgba: pixelsOf(bitmap, width, height) };
  } finally {
    bitmap.close();
  }
}

function checkSize({ width, height }) {
  if (width * height <= LARGEST) return;
  throw new Error(`This picture has ${width} x ${height} pixels; ${LARGEST / 1e6} million are the most.`);
}

// Returns RGBA of whatever a canvas can draw, tile by tile.
export function pixelsOf(source, width, height) {
  const rgba = new Uint8Array(width * height * 4);
  const canvas = document.createElement('canvas');
  canvas.width = Math.min(TILE, width);
  canvas.height = Math.min(TILE, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) {
      const [w, h] = [Math.min(TILE, width - left), Math.min(TILE, height - top)];
      context.clearRect(0, 0, w, h);
      context.drawImage(source, left, top, w, h, 0, 0, w, h);
      const { data } = context.getImageData(0, 0, w, h);
      for (let y = 0; y < h; y++) {
        rgba.set(data.subarray(y * w * 4, (y + 1) * w * 4), ((top + y) * width + left) * 4);
      }
    }
  }
  return rgba;
}

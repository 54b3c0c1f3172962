// Which way up a picture is (EXIF, tag 0x0112), and turning it.

const ORIENTATION = 0x0112;

// Returns 1 to 8; 1 where the block (a TIFF header and what follows) does not say.
export function orientationOf(block) {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    const directory = view.getUint32(4, little);
    for (let entry = 0; entry < view.getUint16(directory, little); entry++) {
      const at = directory + 2 + 12 * entry;
      if (view.getUint16(at, little) !== ORIENTATION) continue;
      const value = view.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch {
    return 1; // damaged: the picture itself may be whole
  }
  return 1;
}

// Returns { width, height, rgba } with the first row at the top and the first column at the left.
export function upright({ width, height, rgba, orientation }) {
  if (orientation === 1) return { width, height, rgba };
  const lying = orientation >= 5;
  const [w, h] = lying ? [height, width] : [width, height];
  const turned = new Uint8Array(rgba.length);
  const from = new Uint32Array(rgba.buffer, rgba.byteOffset, width * height);
  const to = new Uint32Array(turned.buffer);
  const right = [2, 3, 7, 8].includes(orientation); // columns of the file run the other way
  const down = [3, 4, 6, 7].includes(orientation);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [column, row] = lying ? [y, x] : [x, y];
      to[y * w + x] = from[(down ? height - 1 - row : row) * width + (right ? width - 1 - column : column)];
    }
  }
  return { width: w, height: h, rgba: turned };
}

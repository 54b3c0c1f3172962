// How large a picture is, read from the head of its file: what a browser would decode may not fit into a phone's memory.

const HEAD = 1_000_000; // bytes in which an AVIF tells its size

const word = (bytes, at) => String.fromCharCode(...bytes.subarray(at, at + 4));

// Returns { width, height } as stored; null of a file that is none of JPEG, WebP, GIF, BMP, AVIF or HEIF, or damaged.
export function pictureSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const [width, height] = sides(bytes, view) ?? [0, 0];
    return width > 0 && height > 0 ? { width, height } : null;
  } catch {
    return null; // cut off before its size
  }
}

function sides(bytes, view) {
  if (view.getUint16(0) === 0xffd8) return jpeg(view);
  if (word(bytes, 0) === 'RIFF' && word(bytes, 8) === 'WEBP') return webp(bytes, view);
  if (word(bytes, 0) === 'GIF8') return gif(view);
  if (view.getUint16(0) === 0x424d) {
    const old = view.getUint32(14, true) === 12; // a head of OS/2
    return old ? [view.getUint16(18, true), view.getUint16(20, true)] : [view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
  }
  return word(bytes, 4) === 'ftyp' ? heif(bytes, view) : null;
}

// Segments follow each other; that of the frame (SOF, ITU T.81 table B.1) holds the size.
function jpeg(view) {
  for (let at = 2; ; ) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) at += 1; // filled up
    else if (marker === 1 || (marker >= 0xd0 && marker <= 0xd7)) at += 2;
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return [view.getUint16(at + 7), view.getUint16(at + 5)];
    } else at += 2 + view.getUint16(at + 2);
  }
}

function webp(bytes, view) {
  const kind = word(bytes, 12);
  const triple = (at) => view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
  if (kind === 'VP8X') return [triple(24) + 1, triple(27) + 1];
  if (kind === 'VP8 ') return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
  if (kind !== 'VP8L') return null;
  const packed = view.getUint32(21, true);
  return [(packed & 0x3fff) + 1, ((packed >> 14) & 0x3fff) + 1];
}

// Browsers make a picture as large as its first frame, where that is larger than the screen that the head tells of.
function gif(view) {
  const colours = (flags) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let at = 13 + colours(view.getUint8(10));
  while (view.getUint8(at) === 0x21) {
    at += 2; // an extension: blocks, each behind its length, up to an empty one
    while (view.getUint8(at)) at += 1 + view.getUint8(at);
    at += 1;
  }
  if (view.getUint8(at) !== 0x2c) return null;
  const along = (screen, from) => Math.max(view.getUint16(screen, true), view.getUint16(from, true) + view.getUint16(from + 4, true));
  return [along(6, at + 1), along(8, at + 3)];
}

// Boxes `ispe` tell the sizes of the picture, of its tiles and of its thumbnails: the largest counts.
function heif(bytes, view) {
  let largest = null;
  for (let at = 4; at + 16 <= Math.min(bytes.length, HEAD); at++) {
    if (view.getUint32(at) !== 0x69737065) continue;
    const found = [view.getUint32(at + 8), view.getUint32(at + 12)];
    if (!largest || found[0] * found[1] > largest[0] * largest[1]) largest = found;
  }
  return largest;
}

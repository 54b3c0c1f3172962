// Bytes that the page carries as text, and bytes that are packed.

export function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const REFUSED = [0, 13, 60]; // what base122.py carries by characters of two bytes

// Returns so many bytes of a text that base122.py wrote.
export function bytesOfText(text, length) {
  const bytes = new Uint8Array(length);
  let [held, bits, at] = [0, 0, 0];
  const take = (seven) => {
    held = ((held << 7) | seven) & 0x7fff;
    bits += 7;
    if (bits >= 8) bytes[at++] = held >> (bits -= 8); // a byte beyond the length is not kept
  };
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) take(REFUSED[(code >> 7) - 2]);
    take(code & 127);
  }
  return bytes;
}

// format: 'gzip', or 'deflate' for a zlib stream.
export const inflating = (bytes, format) => new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format));

// Returns the first bytes of what is packed, so many at most; the rest is inflated too, for its checksum, and not kept.
export async function inflatedStart(bytes, format, length) {
  const start = new Uint8Array(length);
  let at = 0;
  for (const reader = inflating(bytes, format).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return start.subarray(0, at);
    const part = value.subarray(0, length - at);
    start.set(part, at);
    at += part.length;
  }
}

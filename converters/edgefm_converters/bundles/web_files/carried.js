// What the page carries: JSON that can be read, and packed parts. A page from a server fetches the parts instead.

import { bytesOfText, inflated } from './bytes.js';

const block = (name) => document.getElementById(`carried-${name}`);

export const carriedJson = (name) => JSON.parse(block(name)?.textContent ?? 'null');

const addresses = carriedJson('addresses'); // of the parts; null in a page that carries them

// Whether the page comes from a server with all its parts, the build for several threads among them.
export const served = addresses !== null;

export async function carriedBytes(name) {
  if (!served) {
    const { textContent, dataset } = block(name);
    return inflated(bytesOfText(textContent, Number(dataset.bytes)), 'gzip');
  }
  const answer = await fetch(addresses[name]);
  if (!answer.ok) throw new Error(`${addresses[name]} could not be fetched: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

export const carriedText = async (name) => new TextDecoder().decode(await carriedBytes(name));

// What the page carries: JSON that can be read, and packed parts. A page from a server fetches the parts instead.

import { bytesOfText, inflating } from './bytes.js';

const block = (name) => document.getElementById(`carried-${name}`);

export const carriedJson = (name) => JSON.parse(block(name)?.textContent ?? 'null');

const addresses = carriedJson('addresses'); // of the parts; null in a page that carries them

// Whether the page comes from a server with all its parts, the build for several threads among them.
export const served = addresses !== null;

// Returns a response whose body is a part as it is read, of a type that a browser asks for.
export async function carriedResponse(name, type) {
  if (!served) {
    const { textContent, dataset } = block(name);
    return new Response(inflating(bytesOfText(textContent, Number(dataset.bytes)), 'gzip'), { headers: { 'Content-Type': type } });
  }
  const answer = await fetch(addresses[name]);
  if (!answer.ok) throw new Error(`${addresses[name]} could not be fetched: ${answer.status}`);
  return new Response(answer.body, { headers: { 'Content-Type': type } }); // servers do not know the type of all files
}

export async function carriedBytes(name) {
  const response = await carriedResponse(name, 'application/octet-stream');
  return new Uint8Array(await response.arrayBuffer());
}

export const carriedText = async (name) => new TextDecoder().decode(await carriedBytes(name));

// Returns the WebAssembly of a part, compiled while it is unpacked or fetched.
export const carriedWasm = (name) => WebAssembly.compileStreaming(carriedResponse(name, 'application/wasm'));

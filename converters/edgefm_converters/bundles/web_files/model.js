// A model of the page: what is known of it, its answers, its self-test.

import { bytesOf } from './bytes.js';
import { readPng } from './png.js';
import { reversed, stepsOf } from './preprocess.js';
import { arraysOf, selfTest } from './self_test.js';
import { decoded32, encoded, ranked } from './tensors.js';

export class Model {
  #compiled; // what answers, see runtime.js
  #files; // a promise of golden files by path, base64

  // about: an entry of the page's models, with contract, golden, folder, head, ...
  constructor(about, files) {
    Object.assign(this, about);
    this.name = about.contract.variant;
    this.shape = about.contract.input.shape.slice(1);
    this.bgr = stepsOf(about.contract).channels?.order === 'bgr';
    this.#files = files;
  }

  async load(runtime, bytes) {
    await this.#check(bytes);
    this.#compiled = await runtime.compiled(bytes, this.ends, this.contract);
  }

  async #check(bytes) {
    if (!crypto.subtle) return; // a page that is not on https or a file
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (found !== this.sha256) throw new Error(`the model ${this.name} is not the one that this page was written with`);
  }

  invoke(values) {
    return this.#compiled.invoke(values);
  }

  speed() {
    return this.#compiled?.speed() ?? { p50: NaN, n: 0 };
  }

  // Returns { ranked, values } of pixels, uint8 [height, width, channels].
  async answer(pixels) {
    const outputs = await this.invoke(encoded(pixels, this.contract));
    const values = decoded32(outputs[0], this.contract.outputs[0]);
    return { ranked: ranked(outputs[0], this.contract, this.head), values };
  }

  async measure(runs) {
    const values = encoded(new Uint8Array(this.shape.reduce((product, side) => product * side, 1)), this.contract);
    for (let run = 0; run < runs; run++) await this.invoke(values);
  }

  // Returns { held, verdict, others }; see self_test.js.
  async test() {
    const files = await this.#files;
    const bytesAt = (path) => this.#bytesAt(files, path);
    const inputOf = async (vector) => {
      // Where a picture gives the input byte for byte, the page carries the picture alone.
      if (`${this.folder}${vector.input}` in files) return arraysOf(bytesAt(vector.input), [this.golden.input])[0];
      return encoded(await this.samplePixels(vector), this.contract);
    };
    try {
      return await selfTest(this.golden, this.contract, { inputOf, bytesAt, invoke: (values) => this.invoke(values) });
    } catch (error) {
      return { held: false, verdict: `It could not be run: ${error?.message ?? error}.` };
    }
  }

  // Returns a golden picture as base64.
  async samplePicture(vector) {
    const files = await this.#files;
    return files[`${this.folder}${vector.picture}`] ?? files[vector.picture];
  }

  // Returns pixels in a picture's order of colours; they may be in the model's, and the other way round.
  asPicture(pixels) {
    return this.bgr ? reversed(pixels) : pixels;
  }

  // Returns a golden input's pixels; they are the model's own, and go in as they are.
  async samplePixels(vector) {
    const { rgba } = await readPng(bytesOf(await this.samplePicture(vector)), Infinity);
    const channels = this.shape[2];
    const level = (_, at) => rgba[Math.floor(at / channels) * 4 + (at % channels)];
    return this.asPicture(Uint8Array.from({ length: (rgba.length / 4) * channels }, level));
  }

  // What another model of the page has too stands there once, as a file of the first.
  #bytesAt(files, path) {
    return bytesOf(files[`${this.folder}${path}`] ?? files[path]);
  }
}

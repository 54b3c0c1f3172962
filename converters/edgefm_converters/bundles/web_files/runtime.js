// The model in LiteRT.js, loaded from what the page carries.

const KEPT_LINES = 50;
const KEPT_TIMES = 100;

// LiteRT.js tells what it looks for and does not need here.
const CHATTER = /^(INFO|WARNING): |^Failed to create default WebGPU device/;

const told = []; // what LiteRT.js told the console: a failed invoke throws nothing and is only told there
for (const kind of ['log', 'info', 'warn', 'error']) {
  const original = console[kind].bind(console);
  console[kind] = (...parts) => {
    told.push(parts.map(String).join(' '));
    if (told.length > KEPT_LINES) told.shift();
    if (!CHATTER.test(told.at(-1))) original(...parts);
  };
}

const addressOf = (text) => URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));

// LiteRT.js answers with arrays of the outputs, in the contract's order, for an array of the input's dtype.
export class Runtime {
  #library;
  #model;
  #signature;
  #order;
  #shape;
  #queue = Promise.resolve();
  times = []; // milliseconds of the last inferences

  // files: texts of the modules and of the glue, bytes of wasm and model; ends: key and order of the signature.
  async start({ core, utils, glue, wasm, model }, ends, contract) {
    const utilities = addressOf(utils);
    this.#library = await import(addressOf(core.replaceAll('"@litertjs/wasm-utils"', JSON.stringify(utilities))));
    self.Module = { wasmBinary: wasm };
    await this.#library.loadLiteRt(`${addressOf(glue)}#litert.js`); // it takes addresses that end in .js alone
    this.#model = await this.#library.loadAndCompile(model, { accelerator: 'wasm', cpuOptions: { numThreads: 1 } });
    const { signatures } = this.#model;
    this.#signature = ends.signature in signatures ? ends.signature : Object.keys(signatures)[0];
    const names = signatures[this.#signature].getOutputDetails().map(({ name }) => name);
    this.#order = ends.order.map((name) => names.indexOf(name));
    if (this.#order.includes(-1)) throw new Error(`the outputs are ${names}, not ${ends.order}`);
    this.#shape = contract.input.shape;
  }

  // One after the other: a tensor's memory belongs to one inference.
  invoke(values) {
    const result = this.#queue.then(() => this.#invoke(values));
    this.#queue = result.catch(() => {});
    return result;
  }

  async #invoke(values) {
    const input = new this.#library.Tensor(values, this.#shape);
    told.length = 0;
    const began = performance.now();
    const tensors = await this.#model.run(this.#signature, [input]);
    const took = performance.now() - began;
    const outputs = tensors.map((tensor) => tensor.toTypedArray().slice());
    for (const tensor of [input, ...tensors]) tensor.delete();
    if (told.some((line) => line.startsWith('ERROR'))) throw new Error(`the model failed: ${told.join(' ')}`);
    this.times.push(took);
    if (this.times.length > KEPT_TIMES) this.times.shift();
    return this.#order.map((place) => outputs[place]);
  }

  // Returns { p50, n }: the median of the last inferences in milliseconds.
  speed() {
    const sorted = [...this.times].sort((one, two) => one - two);
    const middle = sorted.length >> 1;
    const p50 = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    return { p50, n: sorted.length };
  }
}

// Returns the smallest step that this browser's clock was seen to make, in milliseconds.
export function clockStep() {
  let least = Infinity;
  let last = performance.now();
  for (let steps = 0; steps < 20; ) {
    const now = performance.now();
    if (now > last) {
      least = Math.min(least, now - last);
      last = now;
      steps++;
    }
  }
  return least;
}

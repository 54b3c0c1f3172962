// LiteRT.js, loaded from what the page carries, and models in it.

const KEPT_LINES = 50;
const KEPT_TIMES = 100;
const MOST_THREADS = 4; // more rarely help models of this size

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

// What runs models: LiteRT.js, with one thread or several.
export class Runtime {
  #library;
  #queue = Promise.resolve();
  threads = 1;

  // Takes the texts of LiteRT.js's modules.
  async open(core, utils) {
    const utilities = addressOf(utils);
    this.#library = await import(addressOf(core.replaceAll('"@litertjs/wasm-utils"', JSON.stringify(utilities))));
  }

  // Returns how many threads a build for several may run here, and why it is one where it is.
  async possibleThreads() {
    if (!self.crossOriginIsolated) return { threads: 1, why: 'the server sends no headers that allow more' };
    for (const feature of ['relaxedSimd', 'threads']) {
      const supported = await this.#library.supportsFeature(feature);
      if (!supported) return { threads: 1, why: `this browser lacks ${feature === 'threads' ? feature : 'relaxed SIMD'}` };
    }
    const threads = Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1);
    return { threads, why: threads === 1 ? 'this device has one core' : '' };
  }

  // Takes the text of a build's glue and its WebAssembly, compiled.
  async start(glue, module, threads) {
    const instantiateWasm = (imports, receive) => {
      WebAssembly.instantiate(module, imports).then((instance) => receive(instance, module));
      return {};
    };
    self.Module = { instantiateWasm };
    await this.#library.loadLiteRt(`${addressOf(glue)}#litert.js`); // it takes addresses that end in .js alone
    this.threads = threads;
  }

  // bytes: of a model; ends: key and order of its signature.
  async compiled(bytes, ends, contract) {
    const options = { accelerator: 'wasm', cpuOptions: { numThreads: this.threads } };
    const model = await this.#library.loadAndCompile(bytes, options);
    return new Compiled(this.#library, model, ends, contract, (action) => this.#inTurn(action));
  }

  // One after the other: a tensor's memory belongs to one inference, and the console does not say whose line it is.
  #inTurn(action) {
    const result = this.#queue.then(action);
    this.#queue = result.catch(() => {});
    return result;
  }
}

// Answers with arrays of the outputs, in the contract's order, for an array of the input's dtype.
class Compiled {
  #library;
  #model;
  #signature;
  #order;
  #shape;
  #inTurn;
  times = []; // milliseconds of the last inferences

  constructor(library, model, ends, contract, inTurn) {
    this.#library = library;
    this.#model = model;
    this.#inTurn = inTurn;
    const { signatures } = model;
    this.#signature = ends.signature in signatures ? ends.signature : Object.keys(signatures)[0];
    const names = signatures[this.#signature].getOutputDetails().map(({ name }) => name);
    this.#order = ends.order.map((name) => names.indexOf(name));
    if (this.#order.includes(-1)) throw new Error(`the outputs are ${names}, not ${ends.order}`);
    this.#shape = contract.input.shape;
  }

  invoke(values) {
    return this.#inTurn(() => this.#invoke(values));
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

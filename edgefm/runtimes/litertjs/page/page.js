// What runs inside the browser: one model in LiteRT.js, driven by edgefm.runtimes.litertjs through WebDriver.
//
// Only the public interface of @litertjs/core is used to load and run, as a web page would. Arrays cross as base64
// of their bytes. Times are of performance.now() in this page, never of the way here.

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
// A sample is the mean of so many invokes that the clock's resolution is at most 1/200 of the whole block.
const RESOLUTIONS_A_BLOCK = 200;
const PILOT_MS = 50;
const PILOT_CALLS = 100;
const KEPT_LINES = 50;

const lines = []; // what LiteRT.js told the console: its errors say more than its exceptions
for (const kind of ['log', 'info', 'warn', 'error']) {
  const original = console[kind].bind(console);
  console[kind] = (...parts) => {
    lines.push(parts.map(String).join(' '));
    if (lines.length > KEPT_LINES) lines.shift();
    original(...parts);
  };
}

let library; // the module @litertjs/core
let litert; // its LiteRt
let model; // its CompiledModel
let signature; // the key of the signature that is run
let input; // the Tensor that is set
let callsASample = 0;
const facts = {};

const nanoseconds = (milliseconds) => Math.round(milliseconds * 1e6);

const heapBytes = () => litert.liteRtWasm.HEAPU8.buffer.byteLength;

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function base64Of(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const parts = [];
  for (let i = 0; i < bytes.length; i += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  return btoa(parts.join(''));
}

// The smallest step that performance.now() was seen to make, in milliseconds.
function resolution() {
  let least = Infinity;
  let last = performance.now();
  for (let steps = 0; steps < 200; ) {
    const now = performance.now();
    if (now > last) {
      least = Math.min(least, now - last);
      last = now;
      steps++;
    }
  }
  return least;
}

// LiteRT.js 2.5.3 returns whatever was in memory when an invoke fails, and throws nothing: only the console knows.
function refuseFailedInvoke() {
  if (lines.some((line) => line.startsWith('ERROR'))) throw new Error('the invoke failed');
}

// Load the wasm build: the plain one for one thread, the threaded one for more.
async function start({ threads }) {
  facts.hardware_concurrency = navigator.hardwareConcurrency;
  facts.cross_origin_isolated = self.crossOriginIsolated;
  facts.clock_resolution_ns = nanoseconds(resolution());
  library = await import('@litertjs/core');
  const started = performance.now();
  litert = await library.loadLiteRt('core/wasm', { threads: threads > 1 });
  facts.wasm_load_ns = nanoseconds(performance.now() - started);
  facts.wasm_heap_bare_bytes = heapBytes();
  const builds = performance.getEntriesByType('resource').map((entry) => entry.name.split('/').pop());
  facts.wasm_build = builds.find((name) => /^litert_wasm.*\.js$/.test(name))?.replace(/\.js$/, '') ?? null;
  return {};
}

// Load the model; numThreads is what LiteRT.js hands to XNNPACK.
async function load({ threads, key }) {
  const bytes = new Uint8Array(await (await fetch('model.tflite')).arrayBuffer());
  const started = performance.now();
  model = await library.loadAndCompile(bytes, { accelerator: 'wasm', cpuOptions: { numThreads: threads } });
  facts.compile_ns = nanoseconds(performance.now() - started);
  signature = key in model.signatures ? key : Object.keys(model.signatures)[0];
  const end = ({ name, dtype, shape }) => ({ name, dtype, shape: Array.from(shape) });
  const runner = model.signatures[signature];
  return { inputs: runner.getInputDetails().map(end), outputs: runner.getOutputDetails().map(end) };
}

function setInput({ data, dtype, shape }) {
  const bytes = bytesOf(data);
  const tensor = new library.Tensor(new ARRAYS[dtype](bytes.buffer), shape);
  input?.delete();
  input = tensor;
}

async function run({ given }) {
  if (given) setInput(given);
  const started = performance.now();
  const tensors = await model.run(signature, [input]);
  const took = performance.now() - started;
  facts.first_invoke_ns ??= nanoseconds(took);
  refuseFailedInvoke();
  const outputs = [];
  for (const tensor of tensors) {
    outputs.push(base64Of(tensor.toTypedArray()));
    tensor.delete();
  }
  return { outputs };
}

// The time of some invokes, and of freeing what they returned, in milliseconds.
async function block(calls) {
  const started = performance.now();
  for (let i = 0; i < calls; i++) {
    for (const tensor of await model.run(signature, [input])) tensor.delete();
  }
  return performance.now() - started;
}

// Choose how many invokes make a sample, once for the life of the page.
async function pilot() {
  if (callsASample) return;
  const clock = facts.clock_resolution_ns / 1e6;
  const started = performance.now();
  let fastest = Infinity;
  for (let calls = 0; calls < PILOT_CALLS && performance.now() - started < PILOT_MS; calls++) {
    fastest = Math.min(fastest, Math.max(await block(1), clock));
  }
  callsASample = Math.max(1, Math.ceil((RESOLUTIONS_A_BLOCK * clock) / fastest));
  if (callsASample > 1) {
    // The shortest of single calls is short by up to a step of the clock: ask a block as well.
    callsASample = Math.max(1, Math.ceil((RESOLUTIONS_A_BLOCK * clock * callsASample) / (await block(callsASample))));
  }
}

// As edgefm.benchmarking.timing.timed_calls, with a block of invokes for a call.
async function samples(calls, { least_calls, least_ns, most_calls, most_ns }) {
  const kept = [];
  const started = performance.now();
  while (kept.length < most_calls) {
    kept.push(nanoseconds((await block(calls)) / calls));
    const over = nanoseconds(performance.now() - started);
    if (over >= least_ns && (kept.length >= least_calls || over >= most_ns)) break;
  }
  return kept;
}

async function time({ given, warmup_calls, limits }) {
  if (given) setInput(given);
  await pilot();
  const warmup = { least_calls: warmup_calls, least_ns: 0, most_calls: warmup_calls, most_ns: limits.most_ns };
  const warmup_ns = await samples(1, warmup);
  refuseFailedInvoke();
  const invoke_ns = await samples(callsASample, limits);
  refuseFailedInvoke();
  return { warmup_ns, invoke_ns, visible: document.visibilityState === 'visible' };
}

async function tell() {
  await pilot();
  return { ...facts, calls_a_sample: callsASample, wasm_heap_bytes: heapBytes() };
}

const commands = { start, load, run, time, tell };

// Never rejects: an error is an answer, with what the console was told before it.
window.edgefm = async (name, request) => {
  lines.length = 0;
  try {
    return { ok: true, ...(await commands[name](request)) };
  } catch (error) {
    return { ok: false, error: String(error?.message ?? error?.type ?? error), lines: [...lines] };
  }
};

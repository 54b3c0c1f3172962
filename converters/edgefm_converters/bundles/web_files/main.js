// Puts the page together: what it carries, the model, the ways a picture gets in, the answer.

import { bytesOf, inflated } from './bytes.js';
import { Camera } from './camera.js';
import { decoded } from './decode.js';
import { Drawing } from './draw.js';
import { readPng } from './png.js';
import { preprocessed, reversed, stepsOf } from './preprocess.js';
import { Runtime, clockStep } from './runtime.js';
import { arraysOf, selfTest } from './self_test.js';
import { tabs } from './tabs.js';
import { decoded32, encoded, ranked } from './tensors.js';
import { element, made, showAnswer, showPixels, showProblem, showSpeed, showStatus, showVerdict } from './view.js';

const BURST = 100;

const carried = (name) => element(`carried-${name}`).textContent;
const unpacked = async (name) => inflated(bytesOf(carried(name).trim()), 'gzip');
const unpackedText = async (name) => new TextDecoder().decode(await unpacked(name));

const facts = JSON.parse(carried('facts'));
const contract = JSON.parse(carried('contract'));
const golden = JSON.parse(carried('golden'));
const shape = contract.input.shape.slice(1);
const bgr = stepsOf(contract).channels?.order === 'bgr';
const recoloured = (pixels) => (bgr ? reversed(pixels) : pixels); // between a picture's order and the model's
const runtime = new Runtime();
const step = clockStep();
let files = {}; // golden files by path, base64
let current = null; // { picture } or { pixels }, with the label of the data

const bytesAt = (path) => bytesOf(files[path]);

// Returns a golden input's pixels, which are of the model's own size.
async function samplePixels(vector) {
  const { rgba } = await readPng(bytesAt(vector.picture), Infinity);
  const channels = shape[2];
  const level = (_, at) => rgba[Math.floor(at / channels) * 4 + (at % channels)];
  return recoloured(Uint8Array.from({ length: (rgba.length / 4) * channels }, level));
}

async function show(given) {
  current = given;
  const { pixels, inverted } = given.pixels
    ? { pixels: given.pixels, inverted: false }
    : preprocessed(given.picture, contract, element('invert').value);
  showPixels(recoloured(pixels), shape, inverted);
  await ready;
  const outputs = await runtime.invoke(encoded(pixels, contract));
  showSpeed(runtime.speed(), step);
  if (current !== given) return; // a newer picture came meanwhile
  const values = decoded32(outputs[0], contract.outputs[0]);
  showAnswer({ ranked: ranked(outputs[0], contract, facts.head), values }, facts, given.truth ?? null);
}

// Runs what a person asked for, and says what went wrong.
const guarded = (action) => async (...given) => {
  try {
    showProblem(null);
    await action(...given);
  } catch (error) {
    showProblem(error?.message ?? String(error));
  }
};

async function start() {
  const began = performance.now();
  const [core, utils, glue, wasm, model] = await Promise.all([
    ...['core', 'utils', 'glue'].map(unpackedText),
    ...['wasm', 'model'].map(unpacked),
  ]);
  await checkModel(model);
  await runtime.start({ core, utils, glue, wasm, model }, facts.ends, contract);
  showStatus('ready', `Ready after ${Math.round(performance.now() - began)} ms, ${facts.runtime}`);
  for (const name of ['measure', 'test']) element(name).disabled = false;
}

async function checkModel(model) {
  if (!crypto.subtle) return; // a page that is not on https or a file
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', model));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== facts.model_sha256) throw new Error('the model in this page is not the one that it was written with');
}

const unpackGolden = unpackedText('files').then((text) => (files = JSON.parse(text)));
const ready = start();

// Where a picture gives the input byte for byte, the page carries the picture alone.
async function inputOf(vector) {
  if (vector.input in files) return arraysOf(bytesAt(vector.input), [golden.input])[0];
  return encoded(await samplePixels(vector), contract);
}

const test = guarded(async () => {
  await Promise.all([ready, unpackGolden]);
  try {
    showVerdict(await selfTest(golden, contract, { inputOf, bytesAt, invoke: (values) => runtime.invoke(values) }));
  } catch (error) {
    showVerdict({ held: false, verdict: `It could not be run: ${error?.message ?? error}.` });
  }
  showSpeed(runtime.speed(), step);
});

const measure = guarded(async () => {
  element('measure').disabled = true;
  const values = encoded(new Uint8Array(shape.reduce((product, side) => product * side, 1)), contract);
  for (let run = 0; run < BURST; run++) await runtime.invoke(values);
  showSpeed(runtime.speed(), step);
  element('measure').disabled = false;
});

async function fillSamples() {
  await unpackGolden;
  const shown = golden.vectors.filter(({ picture }) => picture);
  const random = golden.source.kind === 'random';
  element('samples-note').textContent = !shown.length
    ? 'This page carries no sample pictures.'
    : random
      ? 'Random pixels: this page was written without data. They show equal answers, not right ones.'
      : `${shown.length} test samples of ${golden.source.name}.`;
  const buttons = shown.map((vector, place) => {
    const truth = vector.label === null ? null : (contract.labels[vector.label] ?? null);
    const name = `Sample ${place + 1}${truth === null ? '' : `: ${truth}`}`;
    const image = made('img', { alt: name, src: `data:image/png;base64,${files[vector.picture]}` });
    const button = made('button', { type: 'button', title: name }, image);
    button.setAttribute('aria-pressed', 'false');
    button.addEventListener('click', guarded(async () => {
      for (const other of buttons) other.setAttribute('aria-pressed', String(other === button));
      await show({ pixels: await samplePixels(vector), truth });
    }));
    return button;
  });
  element('samples').replaceChildren(...buttons);
  buttons[0]?.click();
}

const readFile = guarded(async (file) => {
  if (!file) return;
  ways.select('tab-file');
  element('file-name').textContent = file.name;
  element('preview').hidden = true;
  const picture = await decoded(file);
  URL.revokeObjectURL(element('preview').src);
  element('preview').src = URL.createObjectURL(file);
  element('preview').hidden = false;
  await show({ picture });
});

const drawing = facts.pictures && new Drawing(element('drawing'), element('pen'), {
  width: shape[1],
  height: shape[0],
  dark: stepsOf(contract).invert?.when === 'light_border',
  onChange: guarded((picture) => show({ picture })),
});
const camera = new Camera(element('video'), guarded((picture) => show({ picture })));

function showCamera() {
  element('camera').textContent = camera.on ? 'Stop the camera' : 'Start the camera';
  element('turn').hidden = !camera.on;
}

function stopCamera() {
  camera.stop();
  showCamera();
}

const ways = tabs(document.querySelector('[role="tablist"]'), (id) => {
  element('brightness').hidden = id === 'tab-samples'; // samples go in as they are
  if (id !== 'tab-camera') stopCamera();
});

function listen() {
  element('file').addEventListener('change', ({ target }) => readFile(target.files[0]).then(() => (target.value = '')));
  element('clear').addEventListener('click', () => drawing.clear());
  element('invert').addEventListener('change', guarded(() => current?.picture && show(current)));
  element('measure').addEventListener('click', measure);
  element('test').addEventListener('click', test);
  element('camera').addEventListener('click', guarded(async () => {
    try {
      if (camera.on) camera.stop();
      else await camera.start();
    } finally {
      showCamera();
    }
  }));
  element('turn').addEventListener('click', guarded(() => camera.turn().finally(showCamera)));
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('over-page');
  });
  document.addEventListener('dragleave', ({ relatedTarget }) => relatedTarget || document.body.classList.remove('over-page'));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('over-page');
    readFile(event.dataTransfer.files[0]);
  });
  document.addEventListener('paste', ({ clipboardData }) => readFile(clipboardData.files[0]));
}

ready.then(test, (error) => {
  showStatus('broken', 'The model could not be loaded');
  showProblem(`The model could not be loaded: ${error?.message ?? error}.`);
  showVerdict({ held: false, verdict: 'The model could not be loaded.' });
});
if (facts.pictures) {
  listen();
  guarded(fillSamples)();
} else {
  element('input').hidden = element('answer').hidden = true;
  for (const [name, action] of [['measure', measure], ['test', test]]) element(name).addEventListener('click', action);
}

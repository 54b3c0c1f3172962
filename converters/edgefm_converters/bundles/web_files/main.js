// Puts the page together: what it carries, the model, the ways a picture gets in, the answer.

import { Camera } from './camera.js';
import { carriedBytes, carriedJson, carriedText, carriedWasm, served } from './carried.js';
import { decoded } from './decode.js';
import { Drawing } from './draw.js';
import { Model } from './model.js';
import { preprocessed, stepsOf } from './preprocess.js';
import { Runtime, clockStep } from './runtime.js';
import { SideBySide } from './side.js';
import { tabs } from './tabs.js';
import { warnings } from './unlike.js';
import {
  element, made, showAnswer, showPixels, showProblem, showSpeed, showStatus, showTogether, showVerdict, showWarnings,
  threadsText,
} from './view.js';

const BURST = 100;

const facts = carriedJson('facts');
const files = carriedText('files').then(JSON.parse); // golden files by path, base64
const models = carriedJson('models').map((about) => new Model(about, files));
const [model] = models; // the bundle's own
const alone = models.length === 1;
const { contract, golden, shape } = model;
const runtime = new Runtime();
const step = clockStep();
const side = alone || !facts.pictures ? null : new SideBySide(models);
let threads = threadsText({ threads: 1, why: '' });
let current = null; // { picture } or { pixels }, with the label of the data

function showSpeeds() {
  showSpeed(model.speed(), { step, several: !alone, threads });
  for (const each of side ? models : []) side.showSpeed(each);
}

async function show(given) {
  current = given;
  const { pixels, inverted } = given.pixels
    ? { pixels: given.pixels, inverted: false }
    : preprocessed(given.picture, contract, element('invert').value);
  showPixels(model.asPicture(pixels), shape, inverted);
  await ready;
  const answers = [];
  for (const each of models) answers.push(await each.answer(pixels));
  showSpeeds();
  if (current !== given) return; // a newer picture came meanwhile
  const named = models.map((each, place) => [each.name, answers[place], each]);
  const unlike = warnings(model.asPicture(pixels), named.map(([name, { ranked }, each]) => ({ name, sha256: each.contract.sha256, ranked })), facts.unlike);
  showAnswer(answers[0], model, { truth: given.truth ?? null, alone });
  for (const [, answer, each] of side ? named : []) side.showAnswer(each, answer);
  showWarnings(unlike);
  showTogether(named, unlike.length > 0);
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
  const single = served ? null : carriedWasm('wasm'); // the only one that a page carries, and what takes longest
  const contents = models.map((_, place) => carriedBytes(`model-${place}`));
  await runtime.open(...(await Promise.all(['core', 'utils'].map(carriedText))));
  const possible = served ? await runtime.possibleThreads() : { threads: 1, why: '' };
  const prefix = possible.threads > 1 ? 'threaded-' : '';
  const build = [carriedText(`${prefix}glue`), single ?? carriedWasm(`${prefix}wasm`)];
  await runtime.start(...(await Promise.all(build)), possible.threads);
  for (const [place, each] of models.entries()) await each.load(runtime, await contents[place]);
  threads = threadsText(possible);
  showStatus('ready', `Ready after ${Math.round(performance.now())} ms, ${facts.runtime}, ${threads}`);
  for (const name of ['measure', 'test']) element(name).disabled = false;
}

const ready = start();

const test = guarded(async () => {
  await ready;
  const results = [];
  for (const each of models) {
    const result = await each.test();
    side?.showVerdict(each, result);
    results.push({ name: each.name, ...result });
  }
  showVerdict(results);
  showSpeeds();
});

const measure = guarded(async () => {
  element('measure').disabled = true;
  try {
    for (const each of models) await each.measure(BURST);
    showSpeeds();
  } finally {
    element('measure').disabled = false;
  }
});

async function fillSamples() {
  const shown = golden.vectors.filter(({ picture }) => picture);
  const random = golden.source.kind === 'random';
  element('samples-note').textContent = !shown.length
    ? 'This page carries no sample pictures.'
    : random
      ? 'Random pixels: this page was written without data. They show equal answers, not right ones.'
      : `${shown.length} test samples of ${golden.source.name}.`;
  const pictures = await Promise.all(shown.map((vector) => model.samplePicture(vector)));
  const buttons = shown.map((vector, place) => {
    const truth = vector.label === null ? null : (contract.labels[vector.label] ?? null);
    const name = `Sample ${place + 1}${truth === null ? '' : `: ${truth}`}`;
    const image = made('img', { alt: name, src: `data:image/png;base64,${pictures[place]}` });
    const button = made('button', { type: 'button', title: name }, image);
    button.setAttribute('aria-pressed', 'false');
    button.addEventListener('click', guarded(async () => {
      for (const other of buttons) other.setAttribute('aria-pressed', String(other === button));
      await show({ pixels: await model.samplePixels(vector), truth });
    }));
    return button;
  });
  element('samples').replaceChildren(...buttons);
  buttons[0]?.click();
}

let latest = null; // the file that was given last; one that is read slowly comes too late

const readFile = guarded(async (file) => {
  if (!file) return;
  latest = file;
  ways.select('tab-file');
  element('file-name').textContent = file.name;
  element('preview').hidden = true;
  const picture = await decoded(file);
  if (latest !== file) return;
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
  showVerdict([{ held: false, verdict: 'The model could not be loaded.' }]);
});
if (facts.pictures) {
  listen();
  guarded(fillSamples)();
} else {
  element('input').hidden = element('answer').hidden = true;
  for (const [name, action] of [['measure', measure], ['test', test]]) element(name).addEventListener('click', action);
}

// Numbers on their way into the model and out of it, as contract.json says.

import { roundHalfEven, stepsOf } from './preprocess.js';

export const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array, int8: Int8Array };
const LEVELS = { uint8: [0, 255], int8: [-128, 127] };

export const sizeOf = (shape) => shape.reduce((product, side) => product * side, 1);

// Returns the input tensor of pixels (uint8), an array of its dtype. All steps are in float32, as in edgefm.
export function encoded(pixels, contract) {
  const { dtype, scale, zero_point: zero } = contract.input;
  const { mean, std } = stepsOf(contract).range ?? { mean: 0, std: 1 };
  const [low, high] = LEVELS[dtype] ?? [];
  const f = Math.fround;
  const whole = scale === null && dtype.startsWith('int');
  return ARRAYS[dtype].from(pixels, (pixel) => {
    if (whole) return pixel;
    const real = f(f(pixel - f(mean)) / f(std));
    if (scale === null) return real;
    return Math.min(high, Math.max(low, roundHalfEven(f(real / f(scale))) + zero));
  });
}

// Returns an output as real numbers, float32.
export function decoded32(values, end) {
  if (end.scale === null) return Float32Array.from(values);
  return Float32Array.from(values, (value) => (value - end.zero_point) * Math.fround(end.scale));
}

// Returns [{ label, score }] of the first output, the highest first; [] where it holds no scores of labels.
// head: what the first output means, see edgefm_converters.bundles.head.
export function ranked(values, contract, head) {
  const { labels } = contract;
  let scores = probabilities(decoded32(values, contract.outputs[0]), contract, head);
  if (head === 'places') scores = shares(scores, contract);
  if (head === 'second') scores = [1 - scores[0], scores[0]].map(Math.fround);
  if (!['classes', 'labels', 'second', 'places'].includes(head)) return [];
  return Array.from(scores, (score, place) => ({ label: labels[place] ?? `class ${place}`, score, place })).sort(
    (one, two) => two.score - one.score || one.place - two.place,
  );
}

function probabilities(real, contract, head) {
  if (contract.head !== 'logits' || head === 'places') return real;
  if (contract.task === 'multilabel' || real.length === 1) {
    return real.map((score) => 1 / (1 + Math.exp(-Math.min(700, Math.max(-700, score)))));
  }
  const greatest = real.reduce((most, score) => Math.max(most, score), -Infinity);
  const powers = Float64Array.from(real, (score) => Math.exp(score - greatest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

// Of a class at each place: what share of the places each class has.
function shares(values, contract) {
  const classes = contract.outputs[0].shape.at(-1);
  const places = values.length / classes;
  const counts = new Array(Math.max(2, classes)).fill(0);
  for (let place = 0; place < places; place++) {
    const scores = values.subarray(place * classes, (place + 1) * classes);
    if (classes === 1) counts[scores[0] > (contract.head === 'logits' ? 0 : 0.5) ? 1 : 0]++;
    else counts[scores.indexOf(Math.max(...scores))]++;
  }
  return counts.map((count) => count / places);
}

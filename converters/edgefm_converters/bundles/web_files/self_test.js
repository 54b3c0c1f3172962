// Whether the model answers here what it answered where it was made: golden inputs, held against golden answers.

import { ARRAYS, sizeOf } from './tensors.js';

// golden: golden.json; inputOf(vector): its input; bytesAt(path): a file of the bundle; invoke(values): the outputs.
// Returns { held, verdict, others: [{ title, text }] }: the nearest kernel family gives the verdict.
export async function selfTest(golden, contract, { inputOf, bytesAt, invoke }) {
  if (golden.model_sha256 !== contract.sha256) {
    return { held: false, verdict: 'The golden vectors are of another model.' };
  }
  const answers = [];
  for (const vector of golden.vectors) answers.push(await invoke(await inputOf(vector)));
  const families = golden.families.map((family) => {
    const wanted = golden.vectors.map((vector) => arraysOf(bytesAt(vector.answers[family.name]), golden.outputs));
    const { largest, share } = apart(answers, wanted, golden.outputs);
    const { tolerance } = family;
    const near = largest.every((found, place) => found <= (tolerance.outputs?.[place] ?? tolerance.largest));
    const held = near && share <= tolerance.share;
    return { title: family.title, held, share, text: distance(Math.max(...largest), share, golden.outputs) };
  });
  const best = families.reduce((one, two) => (two.held - one.held || one.share - two.share) > 0 ? two : one);
  const found = `${answers.length} golden vectors, ${best.title}: ${best.text}`;
  const verdict = best.held ? `${found}.` : `${found}, which is more than these kernels may differ.`;
  return { held: best.held, verdict, others: families.filter((family) => family !== best) };
}

// Returns the arrays that a file holds one after the other. The browsers that run WebAssembly are little endian.
export function arraysOf(bytes, ends) {
  let start = 0;
  const arrays = ends.map(({ dtype, shape }) => {
    const kind = ARRAYS[dtype];
    const end = start + sizeOf(shape) * kind.BYTES_PER_ELEMENT;
    const array = new kind(bytes.slice(start, end).buffer);
    start = end;
    return array;
  });
  if (start !== bytes.length) throw new Error(`a golden vector has ${bytes.length} bytes, not ${start}`);
  return arrays;
}

// Returns the largest difference of each output (levels, or a share of its greatest magnitude) and the share of values
// that differ, over all outputs.
function apart(answers, wanted, ends) {
  const largest = ends.map(() => 0);
  let [other, total] = [0, 0];
  ends.forEach((end, place) => {
    const pairsOf = (arrays, sample) => Array.from(arrays[place], (value, at) => [value, answers[sample][place][at]]);
    const pairs = wanted.flatMap(pairsOf);
    const greatest = pairs.reduce((most, [value]) => Math.max(most, Math.abs(value) || 0), 0);
    const step = end.scale === null ? Math.max(greatest, 1e-30) : 1;
    for (const [value, answer] of pairs) {
      total++;
      if (value === answer || (Number.isNaN(value) && Number.isNaN(answer))) continue;
      other++;
      const difference = Math.abs(value - answer);
      largest[place] = Math.max(largest[place], Number.isNaN(difference) ? Infinity : difference / step);
    }
  });
  return { largest, share: other / Math.max(total, 1) };
}

function distance(largest, share, ends) {
  if (!share) return 'equal bit for bit';
  const unit = ends[0].scale === null ? 'of the largest magnitude' : largest === 1 ? 'level' : 'levels';
  return `off by at most ${Number(largest.toPrecision(3))} ${unit} in ${(100 * share).toFixed(1)} % of the values`;
}

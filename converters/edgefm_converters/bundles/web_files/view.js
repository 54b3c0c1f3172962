// What the page shows of an answer. Texts of the contract are set as text, never as markup.

const SHOWN = 3;
const ANNOUNCE_MS = 700; // a screen reader hears what stands still for so long

export const element = (id) => document.getElementById(id);

export function made(tag, { text = '', ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}

const digits = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : Number(value.toPrecision(4)).toString());

// model.percent: scores are probabilities or shares.
export const scoreText = (score, model) => (model.percent ? `${(100 * score).toFixed(1)} %` : digits(score));

export const p50Text = (p50) => (p50 < 10 ? p50.toFixed(2) : p50.toFixed(1));

// answer: { ranked, values } of a model, see model.js; truth: the label of the data, or null; alone: whether no other
// model answers beside it, so that its bars stand here.
export function showAnswer({ ranked, values }, model, { truth, alone }) {
  const best = ranked.slice(0, SHOWN);
  element('best-label').textContent = best.length ? best[0].label : model.size === 1 ? digits(values[0]) : 'Answer';
  element('best-score').textContent = best.length ? scoreText(best[0].score, model) : '';
  element('truth').textContent = truth === null ? '' : `Labelled: ${truth}`;
  element('note').textContent = alone ? answerWords({ ranked, values }, model) : '';
  element('bars').hidden = !alone || !best.length;
  element('bars').replaceChildren(...(alone ? barsOf(ranked, model) : []));
}

// Returns the bars of the most probable labels.
export function barsOf(ranked, model) {
  const best = ranked.slice(0, SHOWN);
  return best.map(({ label, score }) => bar(label, scoreText(score, model), model.percent ? score : null));
}

export const answerWords = ({ ranked, values }, model) => (ranked.length ? model.note : valuesText(values));

// named: [name, answer, model] of each; '' names the only one. Says how they agree where they are several.
export function showTogether(named, warned) {
  const firsts = named.map(([, { ranked }]) => ranked[0]?.label).filter((label) => label !== undefined);
  const same = firsts.every((label) => label === firsts[0]);
  const several = named.length > 1 && firsts.length > 1;
  const all = firsts.length === 2 ? 'Both' : `All ${firsts.length}`;
  element('together').textContent = !several ? '' : same ? `${all} models say so.` : 'The models differ.';
  const sentences = named.map(([name, { ranked }, model]) => {
    const best = ranked.slice(0, several ? 1 : SHOWN).map(({ label, score }) => `${label}, ${scoreText(score, model)}`);
    return several ? `${name}: ${best.join('; ')}` : best.join('; ');
  });
  announce([...sentences, ...(warned ? ['Unlike the data'] : [])].join('. '));
}

export function showWarnings(sentences) {
  element('unlike').hidden = !sentences.length;
  element('unlike-text').replaceChildren(...sentences.map((text) => made('li', { text })));
}

function bar(label, text, share) {
  const item = made('li', {}, made('span', { className: 'label', text: label }), made('span', { text }));
  if (share === null) return item;
  const fill = made('span', { className: 'fill' });
  fill.style.transform = `scaleX(${Math.min(1, Math.max(0, share))})`;
  const track = made('span', { className: 'track' }, fill);
  track.setAttribute('aria-hidden', 'true');
  item.append(track);
  return item;
}

function valuesText(values) {
  const first = Array.from(values.subarray(0, 10), digits).join(', ');
  return `The first output holds ${values.length} value${values.length === 1 ? '' : 's'}: ${first}${values.length > 10 ? ', …' : ''}`;
}

let waiting;
function announce(text) {
  clearTimeout(waiting);
  if (element('announced').textContent === text) return;
  waiting = setTimeout(() => (element('announced').textContent = text), ANNOUNCE_MS);
}

// Draws uint8 [height, width, channels].
export function showPixels(pixels, [height, width, channels], inverted) {
  const canvas = element('seen');
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * place + channel] = pixels[place * channels + (channels === 1 ? 0 : channel)];
    }
    image.data[4 * place + 3] = channels === 4 ? pixels[4 * place + 3] : 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
  const colours = { 1: 'grey', 3: 'RGB', 4: 'RGBA' }[channels];
  const text = `What the network sees: ${width}\u00a0×\u00a0${height}, ${colours}${inverted ? ', inverted' : ''}`;
  element('seen-text').textContent = text;
  canvas.setAttribute('aria-label', text);
}

// several: whether other models have their medians beside; threads: how many, and why one.
export function showSpeed({ p50, n }, { step, several, threads }) {
  if (!n) return;
  element('p50').textContent = p50Text(p50);
  const coarse = step >= 0.05 ? ` This browser's clock steps by ${step.toFixed(1)} ms.` : '';
  const of = several ? ' of the first model' : '';
  element('p50-text').textContent = `Median of the last ${n} inferences${of} in this page, ${threads}, on this device.${coarse}`;
}

export const threadsText = ({ threads, why }) => (threads > 1 ? `${threads} threads` : `one thread${why ? `, as ${why}` : ''}`);

// results: [{ name, held, verdict, others }] of each model.
export function showVerdict(results) {
  const held = results.every((result) => result.held);
  const line = element('verdict');
  line.className = `figure verdict ${held ? 'held' : 'failed'}`;
  line.textContent = held ? '✓ held' : '✗ FAILED';
  const one = results.length === 1;
  element('verdict-text').textContent = one ? results[0].verdict : '';
  const compared = ({ title, text }) => `For comparison, ${title}: ${text}.`;
  const words = ({ name, held: ok, verdict, others = [] }) =>
    one ? others.map(compared) : [`${ok ? '✓' : '✗'} ${name}: ${[verdict, ...others.map(compared)].join(' ')}`];
  element('families').replaceChildren(...results.flatMap(words).map((text) => made('li', { text })));
}

export function showStatus(kind, text) {
  element('status').className = `status ${kind}`;
  element('status-text').textContent = text;
}

export function showProblem(message) {
  const line = element('problem');
  line.textContent = message ?? '';
  line.hidden = !message;
}

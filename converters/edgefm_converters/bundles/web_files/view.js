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

// facts.percent: scores are probabilities or shares.
export const scoreText = (score, facts) => (facts.percent ? `${(100 * score).toFixed(1)} %` : digits(score));

// answer: { ranked, values }; truth: the label of the data, or null.
export function showAnswer({ ranked, values }, facts, truth) {
  const best = ranked.slice(0, SHOWN);
  element('best-label').textContent = best.length ? best[0].label : facts.size === 1 ? digits(values[0]) : 'Answer';
  element('best-score').textContent = best.length ? scoreText(best[0].score, facts) : '';
  element('truth').textContent = truth === null ? '' : `Labelled: ${truth}`;
  element('note').textContent = best.length ? facts.note : valuesText(values);
  element('bars').hidden = !best.length;
  const rows = best.map(({ label, score }) => bar(label, scoreText(score, facts), facts.percent ? score : null));
  element('bars').replaceChildren(...rows);
  announce(best.map(({ label, score }) => `${label}, ${scoreText(score, facts)}`).join('; '));
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

export function showSpeed({ p50, n }, step) {
  if (!n) return;
  element('p50').textContent = p50 < 10 ? p50.toFixed(2) : p50.toFixed(1);
  const coarse = step >= 0.05 ? ` This browser's clock steps by ${step.toFixed(1)} ms.` : '';
  element('p50-text').textContent = `Median of the last ${n} inferences in this page, one thread, on this device.${coarse}`;
}

export function showVerdict({ held, verdict, others = [] }) {
  const line = element('verdict');
  line.className = `figure verdict ${held ? 'held' : 'failed'}`;
  line.textContent = held ? '✓ held' : '✗ FAILED';
  element('verdict-text').textContent = verdict;
  const rows = others.map(({ title, text }) => made('li', { text: `For comparison, ${title}: ${text}.` }));
  element('families').replaceChildren(...rows);
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

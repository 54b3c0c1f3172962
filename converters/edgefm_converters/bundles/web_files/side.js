// Models side by side: a card each, with its three most probable labels, its median, its size and what was measured.

import { answerWords, barsOf, element, made, p50Text } from './view.js';

const kilobytes = (bytes) => `${(bytes / 1000).toLocaleString('en', { maximumFractionDigits: bytes < 100_000 ? 1 : 0 })} KB`;

export class SideBySide {
  #cards;

  // models: of the page, see model.js.
  constructor(models) {
    this.#cards = new Map(models.map((model) => [model, card(model)]));
    element('cards').replaceChildren(...[...this.#cards.values()].map(({ node }) => node));
    element('side').hidden = false;
    document.body.classList.add('several');
  }

  showAnswer(model, answer) {
    const { bars, words } = this.#cards.get(model);
    const rows = barsOf(answer.ranked, model);
    bars.replaceChildren(...rows);
    bars.hidden = !rows.length;
    words.textContent = answerWords(answer, model);
    words.hidden = !words.textContent;
  }

  showSpeed(model) {
    const { p50, n } = model.speed();
    if (n) this.#cards.get(model).p50.textContent = `${p50Text(p50)} ms`;
  }

  showVerdict(model, { held, verdict, others = [] }) {
    const line = this.#cards.get(model).verdict;
    line.className = held ? 'held' : 'failed';
    line.textContent = held ? '✓ held' : '✗ FAILED';
    const all = [verdict, ...others.map(({ title, text }) => `For comparison, ${title}: ${text}.`)];
    line.title = all.join(' ');
  }
}

function card(model) {
  const id = `card-${model.folder || 'own'}`.replaceAll(/[^\w-]/g, '-');
  const bars = made('ol', { className: 'bars' });
  bars.setAttribute('aria-label', `Most probable labels by ${model.name}`);
  const words = made('p', { className: 'note', hidden: true });
  const p50 = made('dd', { text: '–' });
  const verdict = made('dd', { text: 'not run' });
  const facts = [
    ['p50', p50],
    ['size', made('dd', { text: kilobytes(model.contract.size_bytes) })],
    [model.quality?.name ?? 'quality', made('dd', { text: qualityText(model.quality), title: qualityTitle(model.quality) })],
    ['self-test', verdict],
  ];
  const list = made('dl', {}, ...facts.map(([name, value]) => made('div', {}, made('dt', { text: name }), value)));
  const node = made('article', { className: 'card' }, made('h3', { id, text: model.name }), bars, words, list);
  node.setAttribute('aria-labelledby', id);
  return { node, bars, words, p50, verdict };
}

const percent = ({ unit }) => (unit === '%' ? [100, ' %'] : [1, '']);

function qualityText(quality) {
  if (!quality) return 'not known';
  const [factor, unit] = percent(quality);
  return `${(factor * quality.value).toFixed(2)}${unit}`;
}

function qualityTitle(quality) {
  if (!quality) return 'No benchmark of this file was found when the page was written.';
  const [factor, unit] = percent(quality);
  const [low, high] = [quality.low, quality.high].map((value) => (factor * value).toFixed(2));
  return `${quality.n.toLocaleString('en')} test samples, 95 % interval ${low} to ${high}${unit}`;
}

// A canvas to draw on, with pointer or keyboard.

import { pixelsOf } from './decode.js';

const LONGEST = 320; // pixels of its longer side
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// dark: bright ink on black. onChange({ width, height, rgba }) after each stroke, and while one is drawn.
export class Drawing {
  #canvas;
  #context;
  #ink;
  #paper;
  #pen;
  #onChange;
  #at; // where the keyboard's pen is
  #down = false;
  #planned = false;
  empty = true;

  constructor(canvas, pen, { width, height, dark, onChange }) {
    const scale = LONGEST / Math.max(width, height);
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    [this.#ink, this.#paper] = dark ? ['#fff', '#000'] : ['#000', '#fff'];
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d', { willReadFrequently: true });
    this.#pen = pen;
    this.#onChange = onChange;
    this.#at = [canvas.width / 2, canvas.height / 2];
    this.clear();
    this.#listen();
  }

  clear() {
    this.#context.fillStyle = this.#paper;
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.empty = true;
  }

  picture() {
    const { width, height } = this.#canvas;
    return { width, height, rgba: pixelsOf(this.#canvas, width, height) };
  }

  #line(from, to) {
    const context = this.#context;
    context.strokeStyle = this.#ink;
    context.lineWidth = Number(this.#pen.value);
    context.lineCap = context.lineJoin = 'round';
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    this.empty = false;
    if (this.#planned) return;
    this.#planned = true;
    requestAnimationFrame(() => {
      this.#planned = false;
      if (!this.empty) this.#onChange(this.picture());
    });
  }

  #listen() {
    const canvas = this.#canvas;
    let last = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
    };
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      last = place(event);
      this.#line(last, last);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!last) return;
      for (const each of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
        const next = place(each);
        this.#line(last, next);
        last = next;
      }
    });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => (last = null));
    canvas.addEventListener('keydown', (event) => this.#key(event));
    canvas.addEventListener('blur', () => (this.#down = false));
  }

  #key(event) {
    const { width, height } = this.#canvas;
    if (event.key === ' ') {
      this.#down = !this.#down;
      if (this.#down) this.#line(this.#at, this.#at);
    } else if (event.key === 'Escape') this.clear();
    else if (event.key in STEPS) {
      const step = Math.max(width, height) / 28;
      const limit = [width, height];
      const next = this.#at.map((value, axis) => Math.min(limit[axis], Math.max(0, value + STEPS[event.key][axis] * step)));
      if (this.#down) this.#line(this.#at, next);
      this.#at = next;
    } else return;
    event.preventDefault();
  }
}

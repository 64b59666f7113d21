// The traffic of the last minutes on a canvas: two lines, drawn when a second's figures arrive and at no other time.

import { rate } from './format.js';

/** A round number of bytes at or above `value`: 1, 2 or 5 times ten or a hundred, so that the scale seldom changes. */
export function ceiling(value) {
  let unit = 1024;
  while (unit * 1024 < value) unit *= 1024;
  return unit * [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024].find((step) => unit * step >= value);
}

export class Series {
  constructor(length) {
    this.length = length;
    this.points = [];
  }

  push(down, up) {
    this.points.push({ down, up });
    if (this.points.length > this.length) this.points.shift();
  }

  get peak() {
    return this.points.reduce((peak, { down, up }) => Math.max(peak, down, up), 0);
  }
}

export function draw(canvas, series) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0) return;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d');
  const colour = colours(canvas);
  const top = ceiling(series.peak);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  lines(context, { width, height, top, colour });
  for (const key of ['down', 'up']) curve(context, series, { key, width, height, top, colour: colour[key] });
}

/** The style sheet's colours of this moment, whichever theme it is. */
function colours(canvas) {
  const style = getComputedStyle(canvas);
  const probe = (name) => {
    canvas.style.color = `var(--${name})`;
    const value = style.color;
    canvas.style.color = '';
    return value;
  };
  return { down: probe('down'), up: probe('up'), line: probe('line'), text: probe('quiet') };
}

const PAD = 6;

function lines(context, { width, height, top, colour }) {
  context.lineWidth = 1;
  context.strokeStyle = colour.line;
  context.fillStyle = colour.text;
  context.font = '11px system-ui, sans-serif';
  for (const part of [0, 0.5, 1]) {
    const y = Math.round(PAD + (height - 2 * PAD) * (1 - part)) + 0.5;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
    if (part > 0) context.fillText(rate(top * part), 2, y + 13);
  }
}

function curve(context, series, { key, width, height, top, colour }) {
  const { points, length } = series;
  if (points.length < 2) return;
  const x = (index) => width - ((points.length - 1 - index) * width) / (length - 1);
  const y = (value) => PAD + (height - 2 * PAD) * (1 - value / top);
  context.beginPath();
  points.forEach((point, index) => context.lineTo(x(index), y(point[key])));
  context.lineWidth = 2;
  context.lineJoin = 'round';
  context.strokeStyle = context.fillStyle = colour;
  context.stroke();
  context.lineTo(x(points.length - 1), height - PAD);
  context.lineTo(x(0), height - PAD);
  context.globalAlpha = 0.1;
  context.fill();
  context.globalAlpha = 1;
}

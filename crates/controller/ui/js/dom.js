// Building elements. Text only ever becomes a text node: names, hosts and log lines come from strangers.

const SVG = 'http://www.w3.org/2000/svg';

/** h('button', { class: 'x', onclick: f, 'aria-label': 'y', disabled: true }, children…) */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value') element.value = value;
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const ICONS = {
  close: 'M6 6l12 12M18 6L6 18',
  bolt: 'M13 3L5 14h6l-1 7 8-11h-6z',
  pin: 'M9 3h6l-1 7 3 3H7l3-3zM12 13v8',
  theme: 'M12 3a9 9 0 1 0 .01 0M12 3v18M12 7a5 5 0 0 1 0 10',
  help: 'M9 9a3 3 0 1 1 4 2.800c-1 .5-1 1.200-1 2.200M12 18h.01',
  update: 'M20 11a8 8 0 1 0-2.300 6.300M20 5v6h-6',
};

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(SVG, 'path');
  shape.setAttribute('d', ICONS[name]);
  svg.append(shape);
  return svg;
}

/** Changes a text only if it differs: an untouched node costs no layout. */
export function write(element, text) {
  const node = element.firstChild;
  if (node === null) element.append(text);
  else if (node.data !== text) node.data = text;
}

/** One choice of several as a row of buttons. `choices`: [[value, label]…]. */
export function segments(label, choices, chosen, choose) {
  const buttons = choices.map(([value, text]) =>
    h('button', { type: 'button', 'data-value': value, onclick: () => choose(value) }, text),
  );
  const element = h('div', { class: 'segments', role: 'group', 'aria-label': label }, buttons);
  element.mark = (value) => {
    for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.value === value));
  };
  element.mark(chosen);
  return element;
}

export function select(label, choices, chosen, choose) {
  const options = choices.map(([value, text]) => h('option', { value }, text));
  const element = h('select', { 'aria-label': label, onchange: () => choose(element.value) }, options);
  element.value = chosen;
  return element;
}

/** A search box that `/` jumps to. */
export function searchBox(label, value, changed) {
  const input = h('input', { type: 'search', placeholder: label, 'aria-label': label, value, autocomplete: 'off', spellcheck: 'false' });
  input.dataset.search = '';
  input.addEventListener('input', () => changed(input.value));
  return input;
}

/** Arrow keys, Home and End move between the buttons that match. */
export function arrows(container, selector) {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  container.addEventListener('keydown', (event) => {
    const all = [...container.querySelectorAll(selector)];
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const step = steps[event.key];
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? all.length - 1 : step === undefined ? -1 : at + step;
    if (!all[to]) return;
    event.preventDefault();
    all[to].focus();
  });
}

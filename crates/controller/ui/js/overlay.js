// What lies over the page: questions, short messages, the drawer.

import { h, icon } from './dom.js';
import { t } from './i18n.js';

const TOAST = 4000;
const TOAST_WITH_UNDO = 8000;

/** Says something for a moment; `undo`, if there is one, is offered as a button. */
export function toast(text, { failure = false, undo = null } = {}) {
  const element = h('div', { class: failure ? 'toast failure' : 'toast' }, h('span', {}, text));
  if (undo) {
    const click = () => {
      element.remove();
      undo();
    };
    element.append(h('button', { type: 'button', onclick: click }, t('undo')));
  }
  const stack = document.getElementById('toasts');
  stack.append(element);
  while (stack.children.length > 4) stack.firstChild.remove();
  setTimeout(() => element.remove(), undo || failure ? TOAST_WITH_UNDO : TOAST);
}

export function failed(error) {
  toast(t('failed', { message: error.message }), { failure: true });
}

/** Runs what a button stands for, once at a time; failures are said. */
export async function busily(button, task) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    await task();
  } catch (error) {
    failed(error);
  } finally {
    button.removeAttribute('aria-busy');
  }
}

function modal(content, label) {
  const dialog = h('dialog', { 'aria-label': label }, content);
  document.body.append(dialog);
  dialog.addEventListener('close', () => dialog.remove());
  dialog.showModal();
  return dialog;
}

/** Asks before something that cannot be undone. True for yes. */
export function confirm(question, action) {
  return new Promise((resolve) => {
    const no = h('button', { type: 'button', onclick: () => dialog.close() }, t('cancel'));
    const yes = h('button', { type: 'submit', class: 'primary', autofocus: true }, action);
    const submit = (event) => {
      event.preventDefault();
      resolve(true);
      dialog.close();
    };
    const form = h('form', { onsubmit: submit }, h('p', {}, question), h('div', { class: 'actions' }, no, yes));
    const dialog = modal(form, question);
    dialog.addEventListener('close', () => resolve(false));
  });
}

/** Asks for the controller's secret until somebody gives one: { secret, keep }. */
export function askSecret(base, wrong) {
  return new Promise((resolve) => {
    const secret = h('input', { type: 'password', name: 'secret', autocomplete: 'current-password', autofocus: true });
    const keep = h('input', { type: 'checkbox' });
    const submit = (event) => {
      event.preventDefault();
      resolve({ secret: secret.value, keep: keep.checked });
      dialog.close();
    };
    const form = h(
      'form',
      { onsubmit: submit },
      h('h2', {}, t('secret.title')),
      h('p', { class: 'quiet small' }, base),
      wrong && h('p', { class: 'bad', role: 'alert' }, t('secret.wrong')),
      h('label', { class: 'field' }, t('secret.label'), secret),
      h('label', { class: 'check' }, keep, t('secret.keep')),
      h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, t('secret.submit'))),
    );
    const dialog = modal(form, t('secret.title'));
    dialog.addEventListener('cancel', (event) => event.preventDefault());
  });
}

export function showShortcuts(rows) {
  const facts = rows.flatMap(([key, what]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)]);
  const close = h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, t('close'));
  const dialog = modal(
    h('div', { class: 'stack' }, h('h2', {}, t('shortcuts')), h('dl', { class: 'facts' }, facts), h('div', { class: 'actions' }, close)),
    t('shortcuts'),
  );
}

let closeDrawer = null;

/** A panel at the side; one at a time. Returns what closes it. `closed` is called when it is, by whomever. */
export function drawer(title, content, closed = () => {}) {
  closeDrawer?.();
  const before = document.activeElement;
  const button = h('button', { type: 'button', class: 'plain square', 'aria-label': t('close'), onclick: () => close() }, icon('close'));
  const element = h('aside', { class: 'drawer', 'aria-label': title }, h('header', {}, h('h2', {}, title), button), content);
  const onKey = (event) => {
    if (event.key === 'Escape' && !document.querySelector('dialog[open]')) close();
  };
  const close = () => {
    if (closeDrawer !== close) return;
    closeDrawer = null;
    const focused = element.contains(document.activeElement);
    element.remove();
    document.removeEventListener('keydown', onKey);
    if (focused && before?.isConnected) before.focus();
    closed();
  };
  closeDrawer = close;
  document.addEventListener('keydown', onKey);
  document.body.append(element);
  button.focus();
  return close;
}

// One dictionary per language, loaded when it is wanted.

import { speak } from './format.js';

export const LANGUAGES = [
  ['en', 'English'],
  ['ru', 'Русский'],
  ['zh', '中文'],
];

let words = {};

/** The first language of `wishes` ("zh-CN") that there is a dictionary for. */
export function pick(wishes) {
  const known = LANGUAGES.map(([code]) => code);
  return wishes.map((wish) => String(wish).toLowerCase().split('-')[0]).find((wish) => known.includes(wish)) ?? 'en';
}

/** The text of `key`, `{name}`s replaced. */
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export async function load(language) {
  const response = await fetch(new URL(`../i18n/${language}.json`, import.meta.url));
  words = await response.json();
  speak(language === 'zh' ? 'zh-CN' : language);
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : language;
  for (const element of document.querySelectorAll('[data-t]')) {
    element.textContent = t(element.dataset.t);
    // Where only the icon is seen, the pointer tells the name.
    if (element.parentElement.matches('#nav a')) element.parentElement.title = element.textContent;
  }
  delete document.documentElement.dataset.untranslated;
}

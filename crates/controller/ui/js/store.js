// What is remembered between visits. Browsers may refuse storage; then nothing is.

function attempt(what) {
  try {
    return what();
  } catch {
    return null;
  }
}

export const settings = {
  get: (key) => attempt(() => localStorage.getItem(`adit.${key}`)),
  set: (key, value) => attempt(() => localStorage.setItem(`adit.${key}`, value)),
  remove: (key) => attempt(() => localStorage.removeItem(`adit.${key}`)),
};

/** The secret of one controller: for this tab, or for good if the user asked for it. */
export const secrets = {
  get: (base) => attempt(() => sessionStorage.getItem(`adit.secret ${base}`) ?? localStorage.getItem(`adit.secret ${base}`)),
  set(base, secret, forGood) {
    attempt(() => sessionStorage.setItem(`adit.secret ${base}`, secret));
    if (forGood) settings.set(`secret ${base}`, secret);
    else settings.remove(`secret ${base}`);
  },
  kept: (base) => settings.get(`secret ${base}`) !== null,
  forget(base) {
    attempt(() => sessionStorage.removeItem(`adit.secret ${base}`));
    settings.remove(`secret ${base}`);
  },
};

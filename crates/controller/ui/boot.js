// Runs before the first paint, so that neither a stored theme nor a stored language flashes. Everything else is deferred.
(() => {
  const root = document.documentElement;
  const stored = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // Storage is switched off: the system's settings it is.
    }
  };
  const theme = stored('adit.theme');
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  // The page is written in English; in another language its few words stay hidden until they are translated.
  const language = stored('adit.language') ?? navigator.language ?? 'en';
  if (!language.startsWith('en')) root.dataset.untranslated = '';
})();

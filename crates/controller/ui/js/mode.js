// The mode of the rules: rule, global, direct.

import { segments } from './dom.js';
import { t } from './i18n.js';
import { failed, toast } from './overlay.js';

const MODES = ['rule', 'global', 'direct'];

/** Three buttons. `changed(mode)` after the controller agreed. */
export function modeSwitch(api, changed = () => {}) {
  let mode = '';
  const set = async (wanted, undoable) => {
    if (wanted === mode) return;
    const before = mode;
    try {
      await api.patch('/configs', { mode: wanted });
    } catch (error) {
      failed(error);
      return;
    }
    element.show(wanted);
    changed(wanted);
    toast(t('mode.changed', { mode: t(`mode.${wanted}`) }), { undo: undoable && before ? () => set(before, false) : null });
  };
  const choices = MODES.map((name) => [name, t(`mode.${name}`)]);
  const element = segments(t('mode'), choices, mode, (wanted) => set(wanted, true));
  element.show = (now) => {
    mode = now;
    element.mark(now);
  };
  return element;
}

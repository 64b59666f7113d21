// `#/view?…` → the view's module, loaded when it is first wanted.

/** The view an address names, or the first one. */
export function routeOf(hash, names) {
  const name = hash.replace(/^#\/?/, '').split(/[?/]/)[0];
  return names.includes(name) ? name : names[0];
}

export class Router {
  #leave = () => {};
  #turn = 0;

  /** `views`: name → () => Promise<{ mount(root, app) }>. mount returns what undoes it. */
  constructor(root, views, app) {
    this.root = root;
    this.views = views;
    this.app = app;
    this.names = Object.keys(views);
    addEventListener('hashchange', () => this.show());
  }

  get current() {
    return routeOf(location.hash, this.names);
  }

  async show() {
    const name = this.current;
    const turn = ++this.#turn;
    const view = await this.views[name]();
    // Somebody clicked on while the module was on its way.
    if (turn !== this.#turn) return;
    this.#leave();
    this.root.replaceChildren();
    this.root.className = '';
    this.root.scrollTop = 0;
    this.app.entered(name);
    this.#leave = view.mount(this.root, this.app) ?? (() => {});
  }
}

// Where an explorer lives: as an anywidget in JupyterLab, in a page of the docs, or in a file opened from disk. The
// last two have no kernel: `StaticModel` stands in for the widget's model, and everything that needs Python stays
// hidden (class "needs-kernel") until Python answers a ping.
import { h } from "./tools.js";

export const KINDS = {}; // each explorer puts itself here
let views = 0;

// Stands in for the widget's model where there is no kernel.
class StaticModel {
  constructor(state) {
    this.state = state;
    this.listeners = {};
  }
  get(key) {
    return this.state[key];
  }
  set(key, value) {
    if (this.state[key] !== value) {
      this.state[key] = value;
      (this.listeners[`change:${key}`] || []).forEach((f) => f());
    }
  }
  on(name, f) {
    (this.listeners[name] ||= []).push(f);
  }
  off() {}
  save_changes() {}
  send() {}
}

// Listeners that end with the view, and the question whether Python is there.
function connection(model, el) {
  const kept = [];
  const host = {
    live: false,
    on(name, f) {
      model.on(name, f);
      kept.push([name, f]);
    },
    put(changes) {
      for (const [k, v] of Object.entries(changes)) model.set(k, v);
      model.save_changes();
    },
    ask(message, buffers) {
      try {
        model.send(message, undefined, buffers);
      } catch {
        /* no kernel */
      }
    },
    close() {
      kept.forEach(([name, f]) => model.off(name, f));
    },
    found: () => {},
    lost: () => {},
  };
  const ping = () => {
    const was = host.live;
    host.live = false;
    el.classList.remove("live");
    if (was) host.lost();
    host.ask({ type: "ping" });
  };
  host.on("msg:custom", (message) => {
    if (message.type === "pong" && !host.live) {
      host.live = true;
      el.classList.add("live");
      host.found();
    }
  });
  host.on("comm_live_update", ping);
  host.ping = ping;
  return host;
}

export function render({ model, el }) {
  const root = h("section", {
    class: `vfs vfs-${model.get("kind")}`,
    id: `vfs-view-${++views}`,
    "aria-label": model.get("title"),
  });
  el.append(root);
  const host = connection(model, root);
  KINDS[model.get("kind")](model, root, host);
  host.ping();
  return () => host.close();
}
export function mount(el, state) {
  return render({ model: new StaticModel(state), el });
}
export default { render };

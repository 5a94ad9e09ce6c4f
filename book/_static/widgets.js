/* Draws the static widgets of a page (sliders, players, stacks of frames, jslink) from the state that
 * Jupyter saved in it: no kernel, no network. A page with any other widget gets Jupyter's own renderer. */
(() => {
  "use strict";
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';
  const JUPYTER = [
    "https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.4/require.min.js",
    "https://cdn.jsdelivr.net/npm/@jupyter-widgets/html-manager@1.0.6/dist/embed-amd.js",
  ];
  const ATTRIBUTES = /^(LinkModel|DirectionalLinkModel|LayoutModel|\w*StyleModel)$/;

  const create = (tag, className, properties) =>
    Object.assign(document.createElement(tag), { className: className || "" }, properties);

  /* Models: values that can be watched. */
  function readModels(saved) {
    const models = new Map();
    for (const [id, entry] of Object.entries(saved.state)) {
      const model = { id, name: entry.model_name, state: { ...entry.state }, watchers: [] };
      for (const buffer of entry.buffers || []) model.state[buffer.path[0]] = buffer.data; // base64
      model.set = (key, value) => {
        if (model.state[key] === value) return;
        model.state[key] = value;
        model.watchers.forEach((watcher) => watcher(key, value));
      };
      model.watch = (key, action) => {
        action(model.state[key]);
        model.watchers.push((changed, value) => changed === key && action(value));
      };
      models.set(id, model);
    }
    const find = (reference) => models.get(String(reference).replace("IPY_MODEL_", ""));
    for (const { name, state } of models.values()) {
      if (!/LinkModel$/.test(name)) continue;
      const [[source, from], [target, to]] = [state.source, state.target];
      const [first, second] = [find(source), find(target)];
      if (!first || !second) continue;
      first.watch(from, (value) => second.set(to, value));
      if (name === "LinkModel") second.watch(to, (value) => first.set(from, value));
    }
    return { models, find };
  }

  /* Views: one function a kind of widget. */
  const labelled = (model, control, readout) => {
    const row = create("label", "widget-row");
    if (model.state.description) row.append(create("span", "widget-name", { textContent: model.state.description }));
    row.append(control);
    if (readout) row.append(readout);
    return row;
  };
  const printed = (value, format) => {
    const digits = /\.(\d)f/.exec(format || "");
    return digits ? Number(value).toFixed(Number(digits[1])) : String(value);
  };
  const slider = (model, key, low, high, step, show) => {
    const control = create("input", "widget-slider", { type: "range", min: low, max: high, step: step || "any" });
    const readout = create("output", "widget-value");
    control.addEventListener("input", () => model.set(key, Number(control.value)));
    model.watch(key, (value) => {
      control.value = value;
      readout.textContent = show(value);
      control.setAttribute("aria-valuetext", show(value));
    });
    return labelled(model, control, model.state.readout === false ? null : readout);
  };
  const number = (model) => {
    const { min, max, step, readout_format } = model.state;
    return slider(model, "value", min, max, step, (value) => printed(value, readout_format));
  };
  const options = (model) => model.state._options_labels;
  const children = (className) => (model, draw) => {
    const box = create("div", className);
    box.append(...model.state.children.map(draw));
    return box;
  };
  const html = (model) => {
    const box = create("div", "widget-html");
    model.watch("value", (value) => (box.innerHTML = value));
    return box;
  };
  const VIEWS = {
    IntSliderModel: number,
    FloatSliderModel: number,
    SelectionSliderModel: (model) =>
      slider(model, "index", 0, options(model).length - 1, 1, (index) => options(model)[index]),
    DropdownModel: (model) => {
      const control = create("select", "widget-choice");
      control.append(...options(model).map((text) => create("option", "", { textContent: text })));
      control.addEventListener("change", () => model.set("index", control.selectedIndex));
      model.watch("index", (index) => (control.selectedIndex = index));
      return labelled(model, control);
    },
    ToggleButtonsModel: (model) => {
      const group = create("span", "widget-buttons");
      group.setAttribute("role", "group");
      const buttons = options(model).map((text) => create("button", "", { type: "button", textContent: text }));
      buttons.forEach((button, index) => button.addEventListener("click", () => model.set("index", index)));
      model.watch("index", (index) => buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(i === index))));
      group.append(...buttons);
      return labelled(model, group);
    },
    PlayModel: (model) => {
      const button = create("button", "widget-play", { type: "button" });
      let timer = null;
      const show = () => {
        button.textContent = timer ? "❚❚" : "▶";
        button.setAttribute("aria-label", timer ? "pause" : "play");
      };
      const stop = () => {
        clearInterval(timer);
        timer = null;
      };
      const tick = () => {
        const { value, min, max, step } = model.state;
        if (value + step <= max) model.set("value", value + step);
        else if (model.state.repeat || model.state._repeat) model.set("value", min);
        else stop();
        show();
      };
      button.addEventListener("click", () => {
        if (timer) stop();
        else {
          if (model.state.value >= model.state.max) model.set("value", model.state.min);
          timer = setInterval(tick, model.state.interval || 100);
        }
        show();
      });
      show();
      return button;
    },
    StackModel: (model, draw) => {
      const box = create("div", "widget-stack");
      const frames = model.state.children.map(draw);
      for (const frame of frames) {
        const [text, image] = [frame.querySelector(".widget-label"), frame.querySelector("img")];
        if (text && image) image.alt = text.textContent;
      }
      box.append(...frames);
      const show = (chosen) => frames.forEach((frame, index) => (frame.hidden = index !== (chosen ?? -1)));
      model.watch("selected_index", show);
      return box;
    },
    ImageModel: (model) => {
      const image = create("img", "widget-image", { alt: model.state._alt || "frame" });
      model.watch("value", (data) => (image.src = `data:image/${model.state.format};base64,${data}`));
      return image;
    },
    HTMLModel: html,
    HTMLMathModel: html,
    LabelModel: (model) => {
      const text = create("span", "widget-label");
      model.watch("value", (value) => (text.textContent = value));
      return text;
    },
    BoxModel: children("widget-line"),
    HBoxModel: children("widget-line"),
    VBoxModel: children("widget-column"),
  };

  function loadJupyter([address, ...rest]) {
    if (!address) return;
    const script = create("script", "", { src: address, onload: () => loadJupyter(rest) });
    script.dataset.jupyterWidgetsCdn = "https://cdn.jsdelivr.net/npm/";
    document.head.append(script);
  }

  function render() {
    const saved = document.querySelector(STATE);
    if (!saved) return;
    const { models, find } = readModels(JSON.parse(saved.textContent));
    if ([...models.values()].some(({ name }) => !VIEWS[name] && !ATTRIBUTES.test(name))) return loadJupyter(JUPYTER);
    const draw = (reference) => {
      const model = find(reference);
      return model ? VIEWS[model.name](model, draw) : create("span");
    };
    for (const script of document.querySelectorAll(VIEW)) {
      const figure = create("div", "widget-static");
      figure.append(draw(JSON.parse(script.textContent).model_id));
      script.replaceWith(figure);
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", render);
  else render();
})();

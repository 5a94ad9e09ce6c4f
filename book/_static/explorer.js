/* The result explorer and the switchboard: intervals drawn from the tables of the sweeps, no library, no network.
 * Their numbers are in results.mjs, written while the book is staged (mstl/report/grid/explorer.py). It is loaded only
 * on pages that show them, so it is not called .js: Sphinx would put that on every page. */
(() => {
  "use strict";
  const HERE = document.currentScript.src;
  const SVG = "http://www.w3.org/2000/svg";
  const FEW = 3; // an interval from fewer seeds knows nothing of how runs differ
  const ROLES = { ours: ["◆", "ours"], reference: ["■", "references"], rival: ["●", "rivals"] };

  const create = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const draw = (tag, attributes, text) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const plain = (value) => value.toFixed(1).replace(/^-0\.0$/, "0.0").replace("-", "−");
  const signed = (value) => (Number(value.toFixed(1)) > 0 ? "+" : "") + plain(value);
  const labels = (number) => `${number} ${number === 1 ? "label" : "labels"}`;
  const seeds = (number) => `${number} ${number === 1 ? "seed" : "seeds"}` + (number < FEW ? ", provisional" : "");
  const verdict = (low, high) => (low > 0 ? "better" : high < 0 ? "worse" : "not distinguishable");
  const unique = (values) => [...new Set(values)];
  const select = (name, onChange) => {
    const control = create("select", { name });
    control.addEventListener("change", onChange);
    return control;
  };
  const fill = (control, options, value) => {
    control.replaceChildren(...options.map(([key, text]) => create("option", { value: key, textContent: text })));
    control.value = value;
    return control.value;
  };
  const field = (text, control) => create("label", { className: "mstl-field" }, create("span", { textContent: text }), control);
  const radios = (legend, name, options, onChange) => {
    const box = create("fieldset", { className: "mstl-field" }, create("legend", { textContent: legend }));
    for (const [value, text] of options) {
      const input = create("input", { type: "radio", name, value });
      input.addEventListener("change", () => onChange(value));
      box.append(create("label", {}, input, " " + text));
    }
    box.choose = (value) => box.querySelectorAll("input").forEach((i) => (i.checked = i.value === value));
    return box;
  };

  /* Words of a label in as few lines as fit. */
  function wrapped(text, most) {
    const lines = [""];
    for (const word of text.split(" ")) {
      const joined = (lines.at(-1) + " " + word).trim();
      if (joined.length <= most || !lines.at(-1)) lines[lines.length - 1] = joined;
      else lines.push(word);
    }
    return lines;
  }
  function ticks(low, high) {
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let t = Math.ceil(low / step); t * step <= high + 1e-9; t++) found.push(Number((t * step).toPrecision(6)));
    return found;
  }
  function dot(role, x, y) {
    const kind = { class: "mstl-mark" };
    if (role === "ours") return draw("path", { ...kind, d: `M${x - 7} ${y}L${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}Z` });
    if (role === "reference") return draw("rect", { ...kind, x: x - 5, y: y - 5, width: 10, height: 10 });
    return draw("circle", { ...kind, cx: x, cy: y, r: 5.5 });
  }

  /* Rows {label, role, value, low, high, shown, said} as dots with intervals; `zero` draws a line there. */
  function chart(box, rows, { zero, axis, name, say }) {
    const width = Math.max(280, box.clientWidth || 720);
    const longest = Math.max(...rows.map((row) => row.label.length), 1);
    const narrow = width < 560;
    const left = narrow ? 8 : Math.min(longest * 7 + 20, 0.44 * width);
    const most = Math.floor(((narrow ? width - 60 : left) - 18) / 6.9);
    const right = width - 54;
    let low = Math.min(...rows.map((r) => r.low), zero ? -1 : Infinity);
    let high = Math.max(...rows.map((r) => r.high), zero ? 1 : -Infinity);
    const spare = 0.04 * (high - low || 1);
    [low, high] = [low - spare, high + spare];
    const at = (value) => left + 8 + ((value - low) / (high - low)) * (right - left - 8);
    let y = 26;
    const places = rows.map((row) => {
      const lines = wrapped(row.label, most);
      const height = narrow ? 16 * lines.length + 20 : Math.max(26, 16 * lines.length + 8);
      const place = { lines, top: y, height, middle: narrow ? y + height - 10 : y + height / 2 };
      y += height;
      return place;
    });
    const svg = draw("svg", { class: "mstl-chart", role: "group", "aria-label": name, width, height: y + 46, viewBox: `0 0 ${width} ${y + 46}` });
    for (const tick of ticks(low, high)) {
      const x = at(tick);
      svg.append(draw("line", { class: zero && tick === 0 ? "zero" : "grid", x1: x, x2: x, y1: 22, y2: y + 4 }));
      for (const where of [16, y + 20]) svg.append(draw("text", { x, y: where, "text-anchor": "middle", class: "tick" }, plain(tick).replace(".0", "")));
    }
    svg.append(draw("text", { x: (left + right) / 2, y: y + 40, "text-anchor": "middle", class: "tick" }, axis));
    const groups = rows.map((row, i) => {
      const { lines, top, height, middle } = places[i];
      const group = draw("g", { class: `mstl-row ${row.role}${row.plain ? " plain" : ""}`, role: "img", tabindex: i ? -1 : 0, "aria-label": row.said });
      group.append(draw("rect", { class: "behind", x: 0, y: top, width, height, rx: 4 }));
      lines.forEach((line, k) => {
        const start = narrow ? top + 15 : middle + 4.5 - 8 * (lines.length - 1);
        const place = narrow ? { x: left } : { x: left - 6, "text-anchor": "end" };
        group.append(draw("text", { ...place, y: start + 16 * k, class: "label" }, line));
      });
      group.append(draw("line", { class: "interval", x1: at(row.low), x2: at(row.high), y1: middle, y2: middle }));
      group.append(dot(row.role, at(row.value), middle));
      group.append(draw("text", { x: width - 4, y: middle + 4.5, "text-anchor": "end", class: "value" }, row.shown));
      group.addEventListener("mouseenter", () => say(row.said));
      group.addEventListener("focus", () => say(row.said));
      group.addEventListener("click", () => say(row.said));
      svg.append(group);
      return group;
    });
    svg.addEventListener("keydown", (event) => {
      const now = groups.indexOf(document.activeElement);
      const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: groups.length - 1 }[event.key];
      if (now < 0 || !groups[next]) return;
      event.preventDefault();
      groups[now].setAttribute("tabindex", -1);
      groups[next].setAttribute("tabindex", 0);
      groups[next].focus();
    });
    box.replaceChildren(svg);
  }
  /* Draws again where the box has another width: a phone that was turned, a sidebar that was folded. */
  function followed(box, redraw) {
    let width = box.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(box.clientWidth - width) > 4) {
        width = box.clientWidth;
        redraw();
      }
    }).observe(box);
  }
  function table(caption, head, rows) {
    const scope = (tag, i) => (tag === "th" ? { scope: "col" } : i ? {} : { scope: "row" });
    const line = (cells, tag) =>
      create("tr", {}, ...cells.map((text, i) => create(i ? tag : "th", { textContent: text, ...scope(tag, i) })));
    return create("table", { className: "table" }, create("caption", { textContent: caption }),
      create("thead", {}, line(head, "th")), create("tbody", {}, ...rows.map((cells) => line(cells, "td"))));
  }
  const legend = () =>
    create("p", { className: "mstl-legend" }, ...Object.entries(ROLES).map(([role, [sign, text]]) =>
      create("span", { className: role, textContent: `${sign} ${text}` })));

  function explorer(box, all) {
    const state = { collection: "", data: "", recipe: "", labels: "", show: "score", methods: "all" };
    const KEYS = ["collection", "data", "recipe", "labels"];
    const controls = Object.fromEntries(KEYS.map((key) => [key, select(key, () => change(key, controls[key].value))]));
    const show = select("show", () => change("show", show.value));
    const choice = radios("Methods", "mstl-methods", [["all", "all"], ["main", "main"], ["variants", "variants"]],
      (value) => change("methods", value));
    const status = create("p", { className: "mstl-status", role: "status" });
    const plot = create("div", { className: "mstl-plot" });
    const detail = create("p", { className: "mstl-detail" });
    const fold = create("details", {});
    box.replaceChildren(
      create("form", { className: "mstl-controls" }, field("Results", controls.collection), field("Data", controls.data),
        field("Recipe", controls.recipe), field("Target labels", controls.labels), field("Show", show), choice),
      status, legend(), detail, plot, fold);
    box.querySelector("form").addEventListener("submit", (event) => event.preventDefault());

    const value = (view, key) => String(view[key]);
    const of = (count) => all.views.filter((view) => KEYS.slice(0, count).every((key) => value(view, key) === state[key]));
    const named = (variant) => all.methods[variant].label;

    function read() {
      let parts;
      try {
        parts = location.hash.slice(1).split("/").map(decodeURIComponent);
      } catch {
        return "";
      }
      if (!all.collections[parts[0]]) return ""; // an anchor of the page
      KEYS.forEach((key, i) => (state[key] = parts[i] || ""));
      state.show = parts[4] || "score";
      state.methods = ["main", "variants"].includes(parts[5]) ? parts[5] : "all";
      return of(4).length || parts.length < 4 ? "" : `${parts.slice(0, 4).join("/")} was not run. Shown in its place: `;
    }
    function write() {
      const parts = KEYS.map((key) => state[key]);
      if (state.show !== "score" || state.methods !== "all") parts.push(state.show);
      if (state.methods !== "all") parts.push(state.methods);
      history.replaceState(null, "", "#" + parts.map(encodeURIComponent).join("/"));
    }
    function change(key, chosen) {
      state[key] = chosen;
      const wanted = { ...state };
      render("");
      if (wanted.show !== state.show) state.show = "score";
      write();
    }
    function settle() {
      KEYS.forEach((key, i) => {
        const values = unique(of(i).map((view) => value(view, key)));
        if (key === "labels") values.sort((a, b) => a - b);
        if (!values.includes(state[key])) state[key] = values[0];
        const text = { collection: (v) => all.collections[v].title, data: (v) => all.data[v] || v }[key] || ((v) => v);
        fill(controls[key], values.map((v) => [v, text(v)]), state[key]);
      });
      const [view] = of(4);
      const options = [["score", `${view.score}, %`], ...view.references.map((r) => [r, `difference to ${named(r)}`])];
      if (!options.some(([key]) => key === state.show)) state.show = "score";
      fill(show, options, state.show);
      choice.choose(state.methods);
      return view;
    }
    function rowsOf(view) {
      const kept = view.rows.filter((row) => state.methods === "all" || row.main === (state.methods === "main"));
      const minus = state.show === "score" ? null : state.show;
      return kept
        .filter((row) => !minus || row.minus[minus])
        .map((row) => {
          const { label, role, family } = all.methods[row.method];
          const common = { label, role, plain: row.main ? family : "", seconds: row.seconds };
          const spent = row.seconds === null ? "" : `, ${Math.round(row.seconds)} seconds of training`;
          const sd = row.sd === null ? "" : `, standard deviation over seeds ${plain(row.sd)}`;
          if (!minus) {
            const said = `${label}: ${plain(row.mean)} (95 % interval ${plain(row.low)} to ${plain(row.high)})${sd}, ${seeds(row.seeds)}${spent}.`;
            return { ...common, said, value: row.mean, low: row.low, high: row.high, shown: plain(row.mean), seeds: row.seeds };
          }
          const [mean, low, high, shared] = row.minus[minus];
          const said = `${label} minus ${named(minus)}: ${signed(mean)} points (95 % interval ${signed(low)} to ${signed(high)}), ${verdict(low, high)}, ${seeds(shared)}${spent}.`;
          return { ...common, said, value: mean, low, high, shown: signed(mean), seeds: shared };
        })
        .sort((a, b) => b.value - a.value);
    }
    function render(before) {
      const view = settle();
      const rows = rowsOf(view);
      const minus = state.show === "score" ? null : named(state.show);
      const where = `${all.data[view.data] || view.data}, ${view.recipe}, ${labels(view.labels)}`;
      const what = minus ? `${view.score} points, method minus ${minus}` : `${view.score}, %`;
      fold.replaceChildren(create("summary", { textContent: "The same numbers as a table" }));
      if (!rows.length) {
        status.textContent = `${before}${where}: no method of this choice.`;
        detail.textContent = "";
        plot.replaceChildren();
        return;
      }
      const best = rows[0];
      const ours = ["mstl_plus", "mstl"].map((name) => rows.findIndex((row) => row.plain === name)).find((i) => i >= 0) ?? -1;
      const ranked = ours > 0 ? ` ${rows[ours].label} ${rows[ours].shown} (place ${ours + 1}).` : "";
      status.textContent = `${before}${where}: ${rows.length} ${rows.length === 1 ? "row" : "rows"}, ${what}. Highest: ${best.label} ${best.shown}.${ranked}`;
      detail.textContent = rows[Math.max(ours, 0)].said;
      const redraw = () => chart(plot, rows, { zero: Boolean(minus), axis: what, name: `${where}, ${what}`, say: (text) => (detail.textContent = text) });
      redraw();
      box.redraw = redraw;
      const number = minus ? signed : plain;
      fold.append(table(`${where}, ${what}`, ["method", minus ? "difference" : view.score, "95 % interval", "seeds", "seconds"],
        rows.map((row) => [row.label, row.shown, `${number(row.low)} to ${number(row.high)}`, row.seeds, row.seconds === null ? "" : Math.round(row.seconds)])));
    }
    render(read());
    addEventListener("hashchange", () => {
      const before = read();
      if (all.collections[location.hash.slice(1).split("/")[0]]) render(before);
    });
    followed(plot, () => box.redraw && box.redraw());
  }

  function switchboard(box, all) {
    const base = box.dataset.base;
    const rows = all.views
      .filter((view) => view.collection === box.dataset.collection)
      .flatMap((view) => view.rows
        .filter((row) => all.methods[row.method].family === base && row.minus[base] && !onlySteps(row.method))
        .map((row) => ({ view, row, change: all.methods[row.method].change })));
    const full = all.methods[base] && all.methods[base].label;
    if (!full || !rows.length) return; // the words in the page stay
    const changes = unique(rows.map(({ change }) => change)).sort((a, b) => a.localeCompare(b));
    const control = select("switch", render);
    const status = create("p", { className: "mstl-status", role: "status" });
    const plot = create("div", { className: "mstl-plot" });
    const detail = create("div", { className: "mstl-detail" });
    box.replaceChildren(create("form", { className: "mstl-controls" }, field(`${full}, but`, control)), status, plot, detail);
    box.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    const times = (change) => rows.filter((row) => row.change === change).length;
    const most = changes.reduce((a, b) => (times(b) > times(a) ? b : a));
    fill(control, changes.map((change) => [change, change]), most);
    function onlySteps(method) {
      return /^\d+ steps$/.test(all.methods[method].change);
    }
    function render() {
      const chosen = rows.filter(({ change }) => change === control.value);
      const shown = chosen.map(({ view, row }) => {
        const [value, low, high, shared] = row.minus[base];
        const whole = view.rows.find((other) => other.method === base);
        const label = `${all.data[view.data] || view.data}, ${view.recipe}, ${labels(view.labels)}`;
        const said = `${label}: ${full} ${plain(whole.mean)}, with the change ${plain(row.mean)}; difference ${signed(value)} points (95 % interval ${signed(low)} to ${signed(high)}), ${verdict(low, high)}, ${seeds(shared)}.`;
        return { label, role: "ours", value, low, high, said, shown: signed(value), whole, row, seeds: shared };
      });
      const count = (word) => shown.filter(({ low, high }) => verdict(low, high) === word).length;
      status.textContent = `${full}, but ${control.value}: run in ${shown.length} ${shown.length === 1 ? "setting" : "settings"}; better in ${count("better")}, worse in ${count("worse")}, not distinguishable in ${count("not distinguishable")}.`;
      box.redraw = () => chart(plot, shown, { zero: true, axis: "points, with the change minus without", name: status.textContent, say: () => {} });
      box.redraw();
      detail.replaceChildren(table(`${full}, but ${control.value}`, ["setting", full, "with the change", "difference", "95 % interval", "seeds"],
        shown.map((s) => [s.label, plain(s.whole.mean), plain(s.row.mean), s.shown, `${signed(s.low)} to ${signed(s.high)}`, s.seeds])));
    }
    render();
    followed(plot, () => box.redraw());
  }

  function start() {
    const boxes = [...document.querySelectorAll(".mstl-explorer, .mstl-switchboard")];
    if (!boxes.length) return;
    const file = create("script", { src: HERE.replace(/explorer\.js.*$/, "results.mjs") });
    file.addEventListener("load", () => {
      const all = window.MSTL_RESULTS;
      if (all && all.views.length) boxes.forEach((box) => (box.matches(".mstl-explorer") ? explorer : switchboard)(box, all));
    });
    document.head.append(file);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();

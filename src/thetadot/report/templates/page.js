(() => {
  "use strict";
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const hidden = new Set();
  let shown = [];

  // Figures hold the light colours; in the dark they are shown with the twins of these.
  const themed = (item, twins) => {
    if (!dark.matches) return item;
    return JSON.parse(JSON.stringify(item).replace(/#[0-9a-f]{6}/g, (colour) => twins[colour] ?? colour));
  };

  const showHidden = () => {
    for (const view of shown) {
      for (const model of view.model.document.all_models) {
        const tags = (model.tags ?? []).filter((tag) => typeof tag === "string" && tag.includes(":"));
        if (tags.length && "visible" in model) model.visible = !tags.some((tag) => hidden.has(tag));
      }
    }
  };

  // Logarithmic axes: the rule of log_ticks.py, kept up while a reader zooms.
  const label = (x, digits) => {
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    const power = Number(exponent), front = String(Number(mantissa));
    if (power >= -2 && power < 5) return String(Number(x.toPrecision(digits)));
    const scale = "10" + [...String(power)].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
    return front === "1" ? scale : `${front}×${scale}`;
  };
  const logTicks = (low, high) => {
    const first = Math.log10(low), last = Math.log10(high);
    if (!(last > first)) return new Map();
    if (last - first < 0.8) {
      const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].map((size) => size * power).find((size) => size >= raw);
      const ticks = new Map();
      for (let k = Math.ceil(low / step); k * step <= high; k++) ticks.set(k * step, label(k * step, 6));
      return ticks;
    }
    const mantissas = last - first < 2.5 ? [1, 2, 5] : [1], step = Math.ceil((last - first) / 8);
    const ticks = new Map();
    for (let power = Math.floor(first); power <= Math.floor(last); power++) {
      if (power % step) continue;
      for (const mantissa of mantissas) {
        const place = Number(`${mantissa}e${power}`);
        if (place >= low && place <= high) ticks.set(place, label(place, 3));
      }
    }
    return ticks;
  };
  const keepTicks = (figure) => {
    const models = [...figure.document.all_models];
    for (const axis of models) {
      const tags = axis.ticker?.tags ?? [];
      if (!tags.includes("log")) continue;
      const range = models.find((model) => model.type === "Range1d" && model.tags[0] === tags[1]);
      range.change.connect(() => {
        const ticks = logTicks(Math.min(range.start, range.end), Math.max(range.start, range.end));
        axis.ticker.ticks = [...ticks.keys()];
        axis.major_label_overrides = ticks;
      });
    }
  };

  const showFigures = async () => {
    const items = read("figures"), twins = read("twins");
    shown.forEach((view) => view.remove());
    shown = [];
    for (const [target, item] of Object.entries(items)) {
      document.getElementById(target).replaceChildren();
      const manager = await Bokeh.embed.embed_item(themed(item, twins), target);
      for (const view of manager.roots ?? manager) {
        shown.push(view);
        keepTicks(view.model);
      }
    }
    showHidden();
  };

  const figures = async () => {
    if (!window.Bokeh) return;
    try {
      await showFigures();
      dark.addEventListener("change", showFigures);
    } catch (problem) {
      root.classList.remove("scripted");
      console.error(problem);
    }
  };

  const keys = () => {
    const buttons = [...document.querySelectorAll("button[data-tag]")];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const tag = button.dataset.tag;
        hidden.has(tag) ? hidden.delete(tag) : hidden.add(tag);
        for (const twin of buttons) {
          if (twin.dataset.tag === tag) twin.setAttribute("aria-pressed", String(!hidden.has(tag)));
        }
        showHidden();
      });
    }
  };

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key === undefined ? cell.textContent.trim() : Number(cell.dataset.key);
  };

  const tables = () => {
    for (const button of document.querySelectorAll("th button")) {
      button.addEventListener("click", () => {
        const head = button.closest("th"), body = head.closest("table").tBodies[0];
        const falling = head.getAttribute("aria-sort") === "ascending";
        for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const column = head.cellIndex;
        const rows = [...body.rows].sort((a, b) => {
          const left = value(a, column), right = value(b, column);
          const order = typeof left === "number" && typeof right === "number"
            ? (left === right ? 0 : left - right) : String(left).localeCompare(String(right));
          return falling ? -order : order;
        });
        body.append(...rows);
      });
    }
  };

  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  keys();
  tables();
  figures();
})();

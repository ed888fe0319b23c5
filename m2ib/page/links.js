// How the units of two inputs act together. Point at a word, a cell or a window, focus it, or paint several, and the other
// input's figure shows how its units act together with those, in place of its own map. A click, Enter or Space holds what is
// chosen; Escape goes back to the plain maps. Figures of heat are reached through `figure.heat` (heatmap.js); words, and
// cells of tables, are elements.
(() => {
  "use strict";
  const SMALL = 1e-12;
  const number = (v) => (v < 0 ? "−" : "+") + Number(Math.abs(v).toPrecision(4)).toString();
  const product = (shape) => shape.reduce((a, b) => a * b, 1);

  const greatest = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

  // Words or cells of a table. `choose(units, how)` gives what is held then. How: "look" is a pointer's, and nothing while
  // something is held; "reach" a key's; "leave" the end of both; "only", "also" and "paint" hold.
  const elementSide = (figure, side, choose) => {
    const elements = [...figure.querySelectorAll(".word, td.cell")];
    if (elements.length !== product(side.shape)) return null;
    const plain = elements.map((element) => element.getAttribute("style")), low = figure.querySelector(".low"), high = figure.querySelector(".high");
    const said = elements.map((element) => element.querySelector(".number")), was = said.map((each) => each && each.textContent);
    const ends = low && [low.textContent, high.textContent], around = figure.classList.contains("around");
    const reading = document.createElement("p");
    reading.className = "hint reading"; reading.hidden = true;
    (figure.querySelector("details") || figure.lastElementChild).before(reading);
    elements.forEach((element, unit) => {
      element.tabIndex = 0;
      element.setAttribute("role", "button");
      element.setAttribute("aria-pressed", "false");
      const held = (event) => choose([unit], event.shiftKey || event.ctrlKey || event.metaKey ? "also" : "only");
      element.addEventListener("pointerenter", () => choose([unit], "look"));
      element.addEventListener("focus", () => choose([unit], "reach"));
      for (const kind of ["pointerleave", "blur"]) element.addEventListener(kind, () => choose([], "leave"));
      element.addEventListener("click", held);
      element.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); held(event); } });
    });
    return {
      show: (values, most, note, measure) => {
        figure.classList.toggle("around", values ? true : around);
        figure.classList.toggle("linked", Boolean(values));
        reading.hidden = !values; reading.textContent = note || "";
        if (low) [low.textContent, high.textContent] = values ? [number(-most) + measure, number(most) + measure] : ends;
        elements.forEach((element, unit) => {
          if (said[unit]) said[unit].textContent = values ? number(values[unit]) + measure : was[unit];
          const v = values && values[unit];
          element.setAttribute("style", values ? `--value:${Math.abs(v / most).toFixed(3)}${v < 0 ? ";--shade:var(--against);--way:left" : ""}` : plain[unit]);
        });
      },
      mark: (units, held) => elements.forEach((element, unit) => {
        element.classList.toggle("chosen", units.has(unit));
        element.setAttribute("aria-pressed", String(held && units.has(unit)));
      }),
    };
  };

  // Cells of maps: pointed at, painted over, or reached with the arrows.
  const heatSide = (figure, side, choose) => {
    const heat = figure.heat, [maps, rows, columns] = [1, 1, ...side.shape].slice(-3);
    heat.divide(side.shape);
    let painting = null, moved = false, cursor = 0;
    heat.stages.forEach((stage, n) => {
      stage.classList.add("paintable");
      const under = (event) => {
        const box = stage.getBoundingClientRect(), inside = (share) => Math.min(Math.max(share, 0), 0.9999);
        return heat.at(n, inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height));
      };
      stage.addEventListener("pointermove", (event) => {
        const units = under(event);
        if (!painting) choose(units, "look");
        else if (units.some((unit) => !painting.has(unit))) { moved = true; units.forEach((unit) => painting.add(unit)); choose([...painting], "paint"); }
      });
      stage.addEventListener("pointerleave", () => { if (!painting) choose([], "leave"); });
      stage.addEventListener("blur", () => choose([], "leave"));
      stage.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        const units = under(event);
        moved = false;
        const held = choose(units, event.shiftKey || event.ctrlKey || event.metaKey ? "also" : "only");
        if (units.length) cursor = units[0];
        if (event.pointerType !== "touch") painting = new Set(held);
      });
      // A sound plays from where it is clicked, but not from where painting ends.
      stage.addEventListener("click", (event) => { if (moved) event.stopImmediatePropagation(); }, true);
      stage.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
        if (event.key === " " || event.key === "Enter") choose([cursor], event.shiftKey || event.ctrlKey ? "only" : "also");
        else if (step) {
          // Beyond the last column is the next map's first. Hertz rise upwards: the first row may be the lowest.
          const up = heat.place(0)[2] > heat.place(columns * (rows - 1))[2] ? -1 : 1, clamp = (at, count) => Math.min(Math.max(at, 0), count - 1);
          const row = clamp(Math.floor(cursor / columns) % rows + up * step[0], rows), across = Math.floor(cursor / rows / columns) * columns + cursor % columns;
          const to = clamp(across + step[1], maps * columns);
          cursor = (Math.floor(to / columns) * rows + row) * columns + to % columns;
          choose([cursor], "reach");
          const at = heat.place(cursor);
          if (at) heat.point(...at);
          event.stopImmediatePropagation();
        } else return;
        event.preventDefault();
      }, true);
    });
    window.addEventListener("pointerup", () => { painting = null; });
    return { show: heat.show, mark: heat.mark };
  };

  for (const script of document.querySelectorAll("script.interactions")) {
    if (script.dataset.ready) continue;
    script.dataset.ready = "1";
    const data = JSON.parse(script.textContent), line = script.parentElement.querySelector(".linked"), hint = line.textContent;
    const measure = data.unit && " " + data.unit;
    // What full colour takes at least, so that what hardly matters looks so: a third of the greatest value.
    const least = Math.max(SMALL, greatest(data.matrix.map(greatest))) / 3;
    const figures = data.sides.map((side) => document.getElementById(side.id));
    let held = null, looked = null;
    const nameOf = (side, unit) => {
      if (side.names) return `“${side.names[unit]}”`;
      const parts = [];
      for (let axis = side.shape.length - 1; axis >= 0; axis--) { parts.unshift(side.places[axis][unit % side.shape[axis]]); unit = Math.floor(unit / side.shape[axis]); }
      return parts.filter(Boolean).join(", ");
    };
    // How each unit of the other input acts together with these, summed.
    const together = (n, units) => {
      const rows = [...units];
      return Array.from({ length: product(data.sides[1 - n].shape) }, (_, other) => rows.reduce((sum, unit) => sum + (n ? data.matrix[other][unit] : data.matrix[unit][other]), 0));
    };
    // What is said is now longer, now shorter. Nothing that comes after it moves under the pointer for that: a height that was needed
    // once is kept.
    const kept = [line, figures[0]].filter(Boolean);
    const settle = () => kept.forEach((each) => { each.style.minHeight = `${Math.max(parseFloat(each.style.minHeight) || 0, each.getBoundingClientRect().height)}px`; });
    window.addEventListener("resize", () => kept.forEach((each) => { each.style.minHeight = ""; }));
    const show = () => { put(); settle(); };
    const put = () => {
      const found = looked || held;
      sides.forEach((side, n) => { if (side) side.mark(found && found.n === n ? found.units : new Set(), held === found); });
      if (!found) {
        for (const side of sides) if (side) side.show(null);
        line.textContent = hint;
        return;
      }
      const { n, units } = found, side = data.sides[n], other = data.sides[1 - n], values = together(n, units);
      const called = units.size === 1 ? nameOf(side, [...units][0]) : `these ${units.size} ${side.unit}s`;
      const note = `how ${called} and each ${other.unit} of the ${other.modality} act together; orange raises the similarity, blue lowers it`;
      if (sides[n]) sides[n].show(null);
      if (sides[1 - n]) sides[1 - n].show(values, Math.max(least, greatest(values)), note, measure);
      const order = values.map((v, unit) => [Math.abs(v), unit]).filter(([v]) => v > 0).sort((a, b) => b[0] - a[0]).slice(0, 4);
      line.textContent = `${called} and: ${order.map(([, unit]) => `${nameOf(other, unit)} ${number(values[unit])}`).join("; ") || "nothing"}${measure}`;
    };
    const chooser = (n) => (units, how) => {
      const alike = (state) => state && state.n === n && units.length === state.units.size && units.every((unit) => state.units.has(unit));
      if (how === "look" && (held || alike(looked))) return;
      if (how === "leave" || !units.length) looked = null;
      else if (how === "look" || how === "reach") looked = { n, units: new Set(units) };
      else {
        looked = null;
        if (how === "only") held = alike(held) ? null : { n, units: new Set(units) };
        else if (how === "paint") held = { n, units: new Set(units) };
        else {
          const all = held && held.n === n ? new Set(held.units) : new Set(), there = units.every((unit) => all.has(unit));
          for (const unit of units) if (there) all.delete(unit); else all.add(unit);
          held = all.size ? { n, units: all } : null;
        }
      }
      show();
      return held && held.n === n ? held.units : [];
    };
    const sides = data.sides.map((side, n) => {
      const figure = figures[n];
      return figure && (figure.heat ? heatSide : elementSide)(figure, side, chooser(n));
    });
    for (const n of [0, 1, null]) { looked = n === null ? null : { n, units: new Set([0]) }; show(); }
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") { held = looked = null; show(); } });
  }
})();

// Heat over the panels of a figure: opacity grows with the value; a contour marks where it passes the
// threshold, so that the map can be read without colour. Signed maps (what speaks for less what speaks against, z-scores,
// how the units of two inputs act together) get two hues around 0 and two kinds of contour. All panels of a figure share its
// knobs and its range of values. `figure.heat` is for links.js: it shows maps of units in place of the figure's own.
(() => {
  "use strict";
  const RAMP = [[20, 11, 54], [87, 16, 110], [148, 38, 103], [203, 65, 73], [242, 107, 34], [252, 165, 10], [246, 215, 70], [252, 255, 164]];
  const FOR = [[150, 70, 0], [235, 130, 0], [255, 196, 70]];
  const AGAINST = [[0, 50, 140], [0, 110, 230], [120, 200, 255]];
  const shade = (ramp, t) => {
    const place = Math.min(Math.max(t, 0), 1) * (ramp.length - 1), low = Math.floor(place), high = Math.min(low + 1, ramp.length - 1);
    return ramp[low].map((c, i) => c + (ramp[high][i] - c) * (place - low));
  };
  const number = (v) => {
    const size = Math.abs(v);
    if (size === 0) return "0";
    if (size >= 1e7 || size < 1e-3) return v.toExponential(2);
    return size >= 999.95 ? Number(v.toPrecision(4)).toLocaleString("en-US") : v.toPrecision(4);
  };
  // From a minute on as m:ss.ss or h:mm:ss.ss.
  const clock = (v) => {
    if (v < 60) return v.toFixed(2) + " s";
    const two = (n) => String(n).padStart(2, "0"), all = Math.floor(v / 60), rest = (v - 60 * all).toFixed(2).padStart(5, "0");
    return all < 60 ? `${all}:${rest}` : `${Math.floor(all / 60)}:${two(all % 60)}:${rest}`;
  };
  const measure = (v, unit) => {
    if (unit === "s") return clock(v);
    if (unit === "Hz") return v < 1000 ? v.toFixed(0) + " Hz" : (v / 1000).toPrecision(3) + " kHz";
    return `${Number(v.toPrecision(4))} ${unit}`.trim();
  };
  // A grid as maps of rows of columns, whatever it is.
  const deep = (grid) => (!Array.isArray(grid[0]) ? [[grid]] : !Array.isArray(grid[0][0]) ? [grid] : grid);
  // From the least to the greatest; where it is known what full heat takes, from 0 to that, or to the greatest if it is more.
  const range = (grids, full) => {
    let low = Infinity, high = -Infinity;
    for (const v of grids.flat(3)) { low = Math.min(low, v); high = Math.max(high, v); }
    return full ? [Math.min(low, 0), Math.max(high, full)] : [low, high > low ? high : low + 1];
  };
  // Where a point lies among centres, rising or falling: the one before it, and the share of the way to the next.
  const locate = (centres, point) => {
    const last = centres.length - 1, sign = centres[last] < centres[0] ? -1 : 1;
    if (sign * (point - centres[0]) <= 0) return [0, 0];
    if (sign * (point - centres[last]) >= 0) return [last, 0];
    let low = 0, high = last;
    while (high - low > 1) { const middle = (low + high) >> 1; if (sign * (point - centres[middle]) >= 0) low = middle; else high = middle; }
    return [low, (point - centres[low]) / (centres[high] - centres[low])];
  };
  const along = (values, [n, f]) => (f === 0 ? values[n] : values[n] * (1 - f) + values[n + 1] * f);
  // The centres of `count` units, where the map has another number of cells along the same side.
  const spread = (centres, count, low, high) => {
    const n = centres.length;
    return n === count ? centres : Array.from({ length: count }, (_, i) => {
      const at = (i + 0.5) / count;
      if (n === 1) return low + at * (high - low);
      const place = at * n - 0.5, first = Math.min(Math.max(Math.floor(place), 0), n - 2);
      return centres[first] + (place - first) * (centres[first + 1] - centres[first]);
    });
  };
  const nearest = ([n, f]) => (f < 0.5 ? n : n + 1);
  const greatest = (grid) => grid.flat(3).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  // Bilinear between the cells' centres, or the nearest cell.
  const sample = (rows, [r, fy], x, smooth) => {
    if (!smooth) return rows[nearest([r, fy])][nearest(x)];
    return fy === 0 ? along(rows[r], x) : along(rows[r], x) * (1 - fy) + along(rows[r + 1], x) * fy;
  };

  const setUp = (figure) => {
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const find = (name) => figure.querySelector(name);
    const opacity = find(".opacity"), threshold = find(".threshold"), reading = find(".reading"), smooth = find(".smooth"), mode = find(".mode"), which = find(".which");
    if (figure.closest(".unspecific")) opacity.value = 25;
    const contrast = "against" in data.maps;
    let units = null; // of links.js: the shape of their grid as [maps, rows, columns], which are marked, and what is shown of them
    const shownName = () => (units && units.shown ? "units" : which ? which.value : "for");
    const signed = (name) => ["units", "both", "z"].includes(name) || (data.signed && ["for", "usual"].includes(name));
    const unitOf = (name) => (name === "units" ? units.shown.measure : name === "z" ? " z" : data.unit && " " + data.unit);
    const own = (maps) => {
      const made = Object.fromEntries(Object.entries(maps).map(([name, grid]) => [name, deep(grid)]));
      if (contrast) made.both = made.for.map((rows, m) => rows.map((row, r) => row.map((v, c) => v - made.against[m][r][c])));
      return made;
    };
    const common = own(data.maps);
    const stages = [...figure.querySelectorAll(".stage")];
    const places = (count, length, from, to, centres) => Array.from({ length: count }, (_, i) => {
      const at = (i + 0.5) / count * length;
      return at < from || at >= to ? null : locate(centres, at);
    });
    const panels = data.panels.map((panel, n) => {
      const stage = stages[n], canvas = stage.querySelector("canvas"), box = stage.getBoundingClientRect();
      const wide = box.width || 480, high = box.height || wide / panel.shape, fit = Math.min(1, 640 / Math.max(wide, high));
      const w = canvas.width = Math.max(1, Math.round(wide * fit)), h = canvas.height = Math.max(1, Math.round(high * fit));
      const contour = !stage.classList.contains("lines") && Math.min(w, h) >= 80;
      const parts = panel.parts.map((part) => {
        const [left, top, right, bottom] = part.region;
        return { ...part, columns: places(w, panel.width, left, right, part.x), lines: places(h, panel.height, top, bottom, part.y) };
      });
      const maps = panel.maps ? own(panel.maps) : common;
      const full = panel.maps ? 0 : data.full;
      return { ...panel, full, stage, canvas, contour, parts, maps, soft: panel.soft ? own(panel.soft) : maps, probe: stage.querySelector(".probe"), regions: [...stage.querySelectorAll(".region")] };
    });
    const shownMaps = (panel) => (units && units.shown ? panel.units : smooth.checked ? panel.soft : panel.maps);

    // The mean of the maps at a pixel of the canvas; null where the model does not look.
    const value = (panel, name, column, line) => {
      let sum = 0, count = 0;
      for (const part of name === "units" ? panel.unitParts : panel.parts) if (part.columns[column] && part.lines[line]) {
        sum += sample(shownMaps(panel)[name][part.map], part.lines[line], part.columns[column], smooth.checked);
        count += 1;
      }
      return count ? sum / count : null;
    };
    // One level for every pixel, in [0, 1], of a signed map in [-1, 1]; NaN where the model does not look.
    const levels = (panel, name, [low, high]) => {
      const { width: w, height: h } = panel.canvas, level = new Float32Array(w * h), zero = signed(name) ? 0 : low;
      for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
        const v = value(panel, name, x, y);
        level[y * w + x] = v === null ? NaN : (v - zero) / (high - zero);
      }
      return level;
    };
    const ramp = (name, t) => (signed(name) ? (t < 0 ? AGAINST : FOR) : !contrast || name === "usual" ? RAMP : name === "for" ? FOR : AGAINST);
    // A line wherever `inside` changes, of pixels of these greys.
    const trace = (picture, w, h, inside, { dashed, line = [255, 0] }) => {
      for (let y = 1; y < h; y++) for (let x = 1; x < w; x++) {
        const place = y * w + x, here = inside(place);
        if (here === null || ![place - 1, place - w].some((other) => inside(other) !== null && inside(other) !== here)) continue;
        if (dashed && ((x + y) >> 2) % 2) continue;
        for (const [step, c] of line.entries()) {
          const at = (place + step) * 4;
          picture.data[at] = picture.data[at + 1] = picture.data[at + 2] = c; picture.data[at + 3] = 255;
        }
      }
    };
    const paint = (panel, level, name, cut, strength) => {
      const { width: w, height: h } = panel.canvas, context = panel.canvas.getContext("2d"), picture = context.createImageData(w, h);
      for (let place = 0; place < w * h; place++) {
        const at = place * 4, t = level[place], size = Math.abs(t);
        let colour = [127, 127, 127], alpha = 0;
        if (Number.isNaN(t)) { alpha = 0.55; } // the model does not see this
        else if (mode.value === "spotlight") { colour = [0, 0, 0]; alpha = size < cut ? 0.92 * strength : strength * (1 - size); }
        else if (size >= cut) { colour = shade(ramp(name, t), size); alpha = strength * (signed(name) ? Math.min(1, 1.4 * Math.pow(size, 0.7)) : Math.min(1, 0.12 + 0.95 * size)); }
        picture.data[at] = colour[0]; picture.data[at + 1] = colour[1]; picture.data[at + 2] = colour[2]; picture.data[at + 3] = 255 * alpha;
      }
      const edge = cut > 0 ? cut : 0.5;
      if (panel.contour) for (const sign of signed(name) ? [1, -1] : [1]) { // dashed: below 0
        trace(picture, w, h, (place) => (Number.isNaN(level[place]) ? null : sign * level[place] >= edge), { dashed: sign < 0 });
      }
      if (units && units.marked.size) {
        const marked = new Uint8Array(w * h);
        for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) marked[y * w + x] = unitsAt(panel, x, y).some((unit) => units.marked.has(unit));
        trace(picture, w, h, (place) => marked[place] === 1, { line: [0, 255, 255, 0] });
      }
      context.putImageData(picture, 0, 0);
    };
    const rangeOf = (maps, name, full) => {
      if (name === "units") return [-maps.most, maps.most];
      if (signed(name)) { const most = greatest(maps[name]) || 1; return [-most, most]; }
      if (name !== "deviation") return range([maps[name]], full);
      const [low, high] = range([maps.for], full);
      return [0, high - low];
    };
    const draw = () => {
      const cut = threshold.value / 100, strength = opacity.value / 100, name = shownName(), two = signed(name), unit = unitOf(name);
      figure.classList.toggle("spotlight", mode.value === "spotlight");
      figure.classList.toggle("signed", two || contrast);
      figure.classList.toggle("around", two);
      let unseen = false;
      for (const panel of panels) {
        const level = levels(panel, name, rangeOf(shownMaps(panel), name, panel.full));
        paint(panel, level, name, cut, strength);
        unseen = unseen || level.some(Number.isNaN);
      }
      const [low, high] = rangeOf(shownMaps(panels[0]), name, panels[0].full), end = (v) => (two ? (v < 0 ? "−" : "+") : "") + number(two ? Math.abs(v) : v) + unit;
      const start = two ? 0 : low;
      find(".opacity + output").textContent = opacity.value + " %";
      find(".threshold + output").textContent = (two ? "± " : "") + number(start + cut * (high - start)) + unit;
      find(".low").textContent = end(low); find(".high").textContent = end(high);
      const stops = (ramp) => ramp.map((c) => `rgb(${c.join(",")})`);
      find(".ramp").style.background = two
        ? `linear-gradient(to right, ${[...stops(AGAINST)].reverse().join(",")}, transparent, ${stops(FOR).join(",")})`
        : `linear-gradient(to right, ${stops(ramp(name, 1)).join(",")})`;
      const level = number(start + (cut || 0.5) * (high - start)) + unit, what = cut ? "the threshold" : two ? "half of the scale" : "halfway along the scale";
      const notes = name === "units" ? [units.shown.note] : data.legends[name] ? [data.legends[name]] : [];
      if (panels.some((panel) => panel.contour)) notes.push(`${two ? "line (dashed below 0)" : "line"}: ${two ? "± " : ""}${level}, ${what}`);
      if (name === "deviation") notes.push("standard deviation over the seeds, on the scale of the mean");
      if (unseen) notes.push("grey: not seen by the model");
      reading.textContent = notes.join("; ");
    };
    let waiting = 0; // one drawing per frame of the screen, however fast a knob moves
    const redraw = () => { waiting = waiting || requestAnimationFrame(() => { waiting = 0; draw(); }); };

    // What is at a point of a panel, given as shares of its width and height.
    const read = (axis, at) => along(axis.values, locate(axis.places, at));
    const padded = (panel, x) => panel.padding !== null && x >= panel.padding;
    const tell = (panel, u, v) => {
      const x = u * panel.width, y = v * panel.height, where = panel.note ? [panel.note] : [];
      if (padded(panel, x)) where.push("padding");
      else if (panel.x) where.push(measure(read(panel.x, x), panel.x.unit));
      if (panel.y) where.push(measure(read(panel.y, y), panel.y.unit));
      if (panel.values) {
        const row = panel.values[Math.floor(v * panel.values.length)], found = row[Math.floor(u * row.length)];
        where.push(found === null ? "not measured" : measure(found, panel.unit));
      }
      for (const region of panel.regions) if (region.dataset.name && region.firstElementChild.isPointInFill(new DOMPoint(x, y))) where.push(region.dataset.name);
      const column = Math.floor(u * panel.canvas.width), line = Math.floor(v * panel.canvas.height);
      const name = shownName(), there = (name) => value(panel, name, column, line), unit = unitOf(name) + panel.measure;
      const what = there(name) === null ? "not seen by the model"
        : name === "both" ? `${number(there("for"))}${unit} for, ${number(there("against"))} against`
        : panel.maps.deviation && name !== "units" && name !== "z" && name !== "usual" ? `${number(there("for"))} ± ${Number(there("deviation").toPrecision(2))}${unit}`
        : `${number(there(name))}${unit}`;
      return where.length ? `${where.join(", ")}: ${what}` : what;
    };
    const pointed = panels.map((panel) => {
      const { stage, probe } = panel;
      let at = [0.5, 0.5];
      const inside = (share) => Math.min(Math.max(share, 0), 0.9999);
      const point = (u, v) => {
        const box = stage.getBoundingClientRect();
        at = [inside(u), inside(v)];
        probe.textContent = tell(panel, ...at);
        probe.style.left = at[0] * box.width + "px"; probe.style.top = at[1] * box.height + "px";
        probe.style.transform = `translate(${at[0] > 0.5 ? "calc(-100% - .5rem)" : ".75rem"}, ${at[1] > 0.5 ? "calc(-100% - .5rem)" : ".75rem"})`;
        probe.style.visibility = "visible";
      };
      const hide = () => { probe.style.visibility = "hidden"; };
      const pick = () => {
        if (panel.x && !padded(panel, at[0] * panel.width)) figure.dispatchEvent(new CustomEvent("pick", { detail: read(panel.x, at[0] * panel.width) }));
      };
      const follow = (event) => {
        const box = panel.canvas.getBoundingClientRect();
        point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      };
      stage.addEventListener("pointermove", follow);
      stage.addEventListener("pointerleave", hide);
      stage.addEventListener("click", (event) => { follow(event); pick(); });
      stage.addEventListener("blur", hide);
      stage.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (step) point(at[0] + step[0] / 40, at[1] + step[1] / 40);
        else if (event.key === "Enter") pick();
        else if (event.key === "Escape") hide();
        else return;
        event.preventDefault();
      });
      return point;
    });
    // The units at a pixel of a panel's canvas. A panel with maps of its own, summed over the rows, has all rows there.
    const unitsAt = (panel, column, line) => {
      const [, rows, columns] = units.shape, part = panel.unitParts.find((part) => part.columns[column] && part.lines[line]);
      if (!part) return [];
      const at = (row) => (part.map * rows + row) * columns + nearest(part.columns[column]);
      return panel.summed ? Array.from({ length: rows }, (_, row) => at(row)) : [at(nearest(part.lines[line]))];
    };
    figure.heat = {
      stages,
      divide: (shape) => {
        const [maps, rows, columns] = [1, 1, ...shape].slice(-3);
        units = { shape: [maps, rows, columns], marked: new Set(), shown: null };
        for (const panel of panels) {
          panel.summed = panel.maps !== common && rows > 1;
          panel.unitParts = panel.parts.map((part) => {
            const [left, top, right, bottom] = part.region, x = spread(part.x, columns, left, right), y = spread(part.y, panel.summed ? 1 : rows, top, bottom);
            return { ...part, x, y, columns: places(panel.canvas.width, panel.width, left, right, x), lines: places(panel.canvas.height, panel.height, top, bottom, y) };
          });
        }
      },
      // Values (units,) in two hues around 0, up to `most` in either, with what they are; null: the figure's own map.
      show: (values, most, note, measure) => {
        units.shown = values && { note, measure };
        const [maps, rows, columns] = units.shape, row = (at) => Array.from(values.slice(at * columns, (at + 1) * columns));
        if (values) for (const panel of panels) {
          let grid = Array.from({ length: maps }, (_, m) => Array.from({ length: rows }, (_, r) => row(m * rows + r)));
          if (panel.summed) grid = grid.map((rows) => [rows[0].map((_, c) => rows.reduce((sum, row) => sum + row[c], 0))]);
          panel.units = { units: grid, most: panel.summed ? Math.max(most, greatest(grid)) : most };
        }
        redraw();
      },
      point: (n, u, v) => pointed[n](u, v),
      mark: (marked) => { units.marked = marked; redraw(); },
      at: (n, u, v) => unitsAt(panels[n], Math.floor(u * panels[n].canvas.width), Math.floor(v * panels[n].canvas.height)),
      // The centre of a unit in the first panel that has it, as [panel, share of the width, share of the height].
      place: (unit) => {
        const [, rows, columns] = units.shape, map = Math.floor(unit / rows / columns);
        for (const [n, panel] of panels.entries()) for (const part of panel.unitParts) if (part.map === map && !panel.summed) {
          return [n, part.x[unit % columns] / panel.width, part.y[Math.floor(unit / columns) % rows] / panel.height];
        }
        return null;
      },
    };
    for (const knob of figure.querySelectorAll(".knobs input, .knobs select")) knob.addEventListener("input", redraw);
    draw();
  };
  for (const figure of document.querySelectorAll("figure.heat")) {
    if (figure.dataset.ready) continue; // the script may stand on a page twice
    figure.dataset.ready = "1";
    setUp(figure);
  }
})();

// Heat over the panels of a figure: opacity grows with the value; a contour marks where it passes the
// threshold, so that the map can be read without colour. Two maps (for, against) get two hues and two kinds
// of contour. The deviation over seeds is shown on the scale of the mean. All panels of a figure share its knobs and its range of values.
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
  // Bilinear between the cells' centres, or the nearest cell.
  const sample = (rows, [r, fy], x, smooth) => {
    if (!smooth) return rows[fy < 0.5 ? r : r + 1][x[1] < 0.5 ? x[0] : x[0] + 1];
    return fy === 0 ? along(rows[r], x) : along(rows[r], x) * (1 - fy) + along(rows[r + 1], x) * fy;
  };

  const setUp = (figure) => {
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const unit = data.unit && " " + data.unit;
    const find = (name) => figure.querySelector(name);
    const opacity = find(".opacity"), threshold = find(".threshold"), reading = find(".reading"), smooth = find(".smooth"), mode = find(".mode"), which = find(".which");
    const contrast = figure.classList.contains("contrast");
    const both = () => which && which.value === "both";
    const deviates = () => which && which.value === "deviation";
    const sides = () => (both() ? ["for", "against"] : [which ? which.value : "for"]);
    const own = (maps) => Object.fromEntries(Object.entries(maps).map(([side, grid]) => [side, deep(grid)]));
    const common = own(data.maps);
    const stages = [...figure.querySelectorAll(".stage")];
    const panels = data.panels.map((panel, n) => {
      const stage = stages[n], canvas = stage.querySelector("canvas"), box = stage.getBoundingClientRect();
      const wide = box.width || 480, high = box.height || wide / panel.shape, fit = Math.min(1, 640 / Math.max(wide, high));
      const w = canvas.width = Math.max(1, Math.round(wide * fit)), h = canvas.height = Math.max(1, Math.round(high * fit));
      const contour = !stage.classList.contains("lines") && Math.min(w, h) >= 80;
      const places = (count, length, from, to, centres) => Array.from({ length: count }, (_, i) => {
        const at = (i + 0.5) / count * length;
        return at < from || at >= to ? null : locate(centres, at);
      });
      const parts = panel.parts.map((part) => {
        const [left, top, right, bottom] = part.region;
        return { ...part, columns: places(w, panel.width, left, right, part.x), lines: places(h, panel.height, top, bottom, part.y) };
      });
      const maps = panel.maps ? own(panel.maps) : common;
      const full = panel.maps ? 0 : data.full;
      return { ...panel, full, stage, canvas, contour, parts, maps, soft: panel.soft ? own(panel.soft) : maps, probe: stage.querySelector(".probe"), regions: [...stage.querySelectorAll(".region")] };
    });
    const shownMaps = (panel) => (smooth.checked ? panel.soft : panel.maps);

    // The mean of the maps at a pixel of the canvas; null where the model does not look.
    const value = (panel, side, column, line) => {
      let sum = 0, count = 0;
      for (const part of panel.parts) if (part.columns[column] && part.lines[line]) {
        sum += sample(shownMaps(panel)[side][part.map], part.lines[line], part.columns[column], smooth.checked);
        count += 1;
      }
      return count ? sum / count : null;
    };
    const levels = (panel, side, [low, high]) => {
      const { width: w, height: h } = panel.canvas, level = new Float32Array(w * h);
      for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
        const v = value(panel, side, x, y);
        level[y * w + x] = v === null ? -1 : (v - low) / (high - low);
      }
      return level;
    };
    // For every panel one level in [0, 1] per side and pixel, -1 where the model does not look.
    // Of both sides: each one's lead over the other, the largest lead filling the scale.
    const measured = (group, limits) => {
      let shown = group.map((panel) => sides().map((side) => levels(panel, side, limits))), most = 1;
      if (both()) {
        most = 1e-9;
        for (const [mine, other] of shown) mine.forEach((v, i) => { most = Math.max(most, Math.abs(v - other[i])); });
        const lead = (mine, other) => mine.map((v, i) => (v < 0 ? -1 : Math.max(v - other[i], 0) / most));
        shown = shown.map(([mine, other]) => [lead(mine, other), lead(other, mine)]);
      }
      return [shown, most];
    };
    const paint = (panel, shown, ramps, cut, strength) => {
      const { width: w, height: h } = panel.canvas, context = panel.canvas.getContext("2d"), picture = context.createImageData(w, h);
      for (let place = 0; place < w * h; place++) {
        const at = place * 4, best = both() && shown[1][place] > shown[0][place] ? 1 : 0, t = shown[best][place];
        let colour = [127, 127, 127], alpha = 0;
        if (t < 0) { alpha = 0.55; } // the model does not see this
        else if (mode.value === "spotlight") { colour = [0, 0, 0]; alpha = t < cut ? 0.92 * strength : strength * (1 - t); }
        else if (t >= cut) { colour = shade(ramps[best], t); alpha = strength * (both() ? Math.min(1, 1.4 * Math.pow(t, 0.7)) : Math.min(1, 0.12 + 0.95 * t)); }
        picture.data[at] = colour[0]; picture.data[at + 1] = colour[1]; picture.data[at + 2] = colour[2]; picture.data[at + 3] = 255 * alpha;
      }
      const edge = cut > 0 ? cut : 0.5;
      if (panel.contour) shown.forEach((level, n) => {
        for (let y = 1; y < h; y++) for (let x = 1; x < w; x++) {
          const place = y * w + x, passes = (other) => level[other] >= 0 && (level[place] >= edge) !== (level[other] >= edge);
          if (level[place] < 0 || !(passes(place - 1) || passes(place - w))) continue;
          if (n === 1 && ((x + y) >> 2) % 2) continue; // dashed: the other side
          for (const [step, c] of [[0, 255], [1, 0]]) {
            const at = (place + step) * 4;
            picture.data[at] = picture.data[at + 1] = picture.data[at + 2] = c; picture.data[at + 3] = 255;
          }
        }
      });
      context.putImageData(picture, 0, 0);
    };
    const rangeOf = (maps, full) => {
      if (!deviates()) return range(sides().map((side) => maps[side]), full);
      const [low, high] = range([maps.for], full);
      return [0, high - low];
    };
    const draw = () => {
      const cut = threshold.value / 100, strength = opacity.value / 100;
      const ramps = contrast ? (both() ? [FOR, AGAINST] : [which.value === "for" ? FOR : AGAINST]) : [RAMP];
      figure.classList.toggle("spotlight", mode.value === "spotlight");
      const first = shownMaps(panels[0]);
      let unseen = false, [low, high] = rangeOf(first, panels[0].full), most = 1;
      for (const maps of new Set(panels.map(shownMaps))) {
        const group = panels.filter((panel) => shownMaps(panel) === maps), limits = rangeOf(maps, group[0].full);
        const [shown, lead] = measured(group, limits);
        if (maps === first) most = lead;
        shown.forEach((levels, n) => { paint(group[n], levels, ramps, cut, strength); unseen = unseen || levels[0].includes(-1); });
      }
      if (both()) [low, high] = [0, most * (high - low)]; // of the lead
      find(".opacity + output").textContent = opacity.value + " %";
      find(".threshold + output").textContent = number(low + cut * (high - low)) + unit;
      find(".low").textContent = number(low) + unit; find(".high").textContent = number(high) + unit;
      const stops = (ramp) => ramp.map((c) => `rgb(${c.join(",")})`);
      find(".ramp").style.background = both()
        ? `linear-gradient(to right, ${[...stops(AGAINST)].reverse().join(",")}, transparent, ${stops(FOR).join(",")})`
        : `linear-gradient(to right, ${stops(ramps[0]).join(",")})`;
      if (both()) { find(".low").textContent = `−${number(high)}${unit}`; find(".high").textContent = `+${number(high)}${unit}`; }
      const level = number(low + (cut || 0.5) * (high - low)) + unit, what = cut ? "the threshold" : both() ? "half of the largest lead" : "halfway along the scale";
      const notes = both() ? ["orange: more for this one, blue: more for the other"] : [];
      if (panels.some((panel) => panel.contour)) notes.push(`${both() ? "line (dashed for the other)" : "line"}: ${level}, ${what}`);
      if (deviates()) notes.push("standard deviation over the seeds, on the scale of the mean");
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
      const found = sides().map((side) => value(panel, side, column, line));
      const what = found[0] === null ? "not seen by the model"
        : both() ? `${number(found[0])}${unit}${panel.measure} for, ${number(found[1])} against`
        : panel.maps.deviation ? `${number(value(panel, "for", column, line))} ± ${Number(value(panel, "deviation", column, line).toPrecision(2))}${unit}${panel.measure}`
        : `${number(found[0])}${unit}${panel.measure}`;
      return where.length ? `${where.join(", ")}: ${what}` : what;
    };
    panels.forEach((panel) => {
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
    });
    for (const knob of figure.querySelectorAll(".knobs input, .knobs select")) knob.addEventListener("input", redraw);
    draw();
  };
  for (const figure of document.querySelectorAll("figure.heat")) {
    if (figure.dataset.ready) continue; // the script may stand on a page twice
    figure.dataset.ready = "1";
    setUp(figure);
  }
})();

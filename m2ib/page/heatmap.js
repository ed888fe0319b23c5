// Heat over an image: opacity grows with the value; a contour marks where it passes the threshold, so that
// the map can be read without colour. Two maps (for, against) get two hues and two kinds of contour.
(() => {
  "use strict";
  const RAMP = [[20, 11, 54], [87, 16, 110], [148, 38, 103], [203, 65, 73], [242, 107, 34], [252, 165, 10], [246, 215, 70], [252, 255, 164]];
  const FOR = [[150, 70, 0], [235, 130, 0], [255, 196, 70]];
  const AGAINST = [[0, 50, 140], [0, 110, 230], [120, 200, 255]];
  const shade = (ramp, t) => {
    const place = Math.min(Math.max(t, 0), 1) * (ramp.length - 1), low = Math.floor(place), high = Math.min(low + 1, ramp.length - 1);
    return ramp[low].map((c, i) => c + (ramp[high][i] - c) * (place - low));
  };
  const range = (maps) => {
    let low = Infinity, high = -Infinity;
    for (const map of maps) for (const row of map) for (const v of row) { low = Math.min(low, v); high = Math.max(high, v); }
    return [low, high > low ? high : low + 1];
  };
  // Bilinear with half-pixel centres, or the cell itself.
  const sample = (grid, y, x, smooth) => {
    const rows = grid.length, cols = grid[0].length;
    if (!smooth) return grid[Math.min(rows - 1, Math.floor(y * rows))][Math.min(cols - 1, Math.floor(x * cols))];
    const gy = Math.min(Math.max(y * rows - 0.5, 0), rows - 1), gx = Math.min(Math.max(x * cols - 0.5, 0), cols - 1);
    const r = Math.floor(gy), c = Math.floor(gx), r1 = Math.min(r + 1, rows - 1), c1 = Math.min(c + 1, cols - 1), fy = gy - r, fx = gx - c;
    return (grid[r][c] * (1 - fx) + grid[r][c1] * fx) * (1 - fy) + (grid[r1][c] * (1 - fx) + grid[r1][c1] * fx) * fy;
  };
  const number = (v) => (Math.abs(v) >= 1e4 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : v.toPrecision(4));

  for (const figure of document.querySelectorAll("figure.heat")) {
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const canvas = figure.querySelector("canvas"), probe = figure.querySelector(".probe"), stage = figure.querySelector(".stage");
    const find = (name) => figure.querySelector(name);
    const opacity = find(".opacity"), threshold = find(".threshold"), smooth = find(".smooth"), mode = find(".mode"), which = find(".which");
    const [left, top, right, bottom] = data.region;
    const both = () => which && which.value === "both";
    const shown = () => (both() ? [data.maps.for, data.maps.against] : [data.maps[which ? which.value : "for"]]);
    const scale = 640 / Math.max(data.width, data.height);
    canvas.width = Math.max(1, Math.round(data.width * scale));
    canvas.height = Math.max(1, Math.round(data.height * scale));

    const value = (map, px, py) => {
      const u = (px / canvas.width * data.width - left) / (right - left), v = (py / canvas.height * data.height - top) / (bottom - top);
      return u < 0 || v < 0 || u >= 1 || v >= 1 ? null : sample(map, v, u, smooth.checked);
    };
    const draw = () => {
      const maps = shown(), [low, high] = range(maps), cut = threshold.value / 100, strength = opacity.value / 100;
      const w = canvas.width, h = canvas.height, context = canvas.getContext("2d"), picture = context.createImageData(w, h);
      const ramps = which ? (both() ? [FOR, AGAINST] : [which.value === "for" ? FOR : AGAINST]) : [RAMP];
      // One level in [0, 1] per map and pixel, -1 where the model does not look.
      let levels = maps.map((map) => {
        const level = new Float32Array(w * h);
        for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
          const v = value(map, x + 0.5, y + 0.5);
          level[y * w + x] = v === null ? -1 : (v - low) / (high - low);
        }
        return level;
      });
      if (both()) { // each side's lead over the other, the larger lead of the two filling the scale
        let most = 1e-9;
        levels[0].forEach((v, i) => { most = Math.max(most, Math.abs(v - levels[1][i])); });
        const lead = (mine, other) => mine.map((v, i) => (v < 0 ? -1 : Math.max(v - other[i], 0) / most));
        levels = [lead(levels[0], levels[1]), lead(levels[1], levels[0])];
      }
      for (let place = 0; place < w * h; place++) {
        const at = place * 4, best = both() && levels[1][place] > levels[0][place] ? 1 : 0, t = levels[best][place];
        let colour = [127, 127, 127], alpha = 0;
        if (t < 0) { alpha = 0.55; } // the model does not see this
        else if (mode.value === "spotlight") { colour = [0, 0, 0]; alpha = t < cut ? 0.92 * strength : strength * (1 - t); }
        else if (t >= cut) { colour = shade(ramps[best], t); alpha = strength * (both() ? Math.min(1, 1.4 * Math.pow(t, 0.7)) : Math.min(1, 0.12 + 0.95 * t)); }
        picture.data[at] = colour[0]; picture.data[at + 1] = colour[1]; picture.data[at + 2] = colour[2]; picture.data[at + 3] = 255 * alpha;
      }
      const edge = cut > 0 ? cut : 0.5;
      levels.forEach((level, n) => {
        for (let y = 1; y < h; y++) for (let x = 1; x < w; x++) {
          const place = y * w + x, inside = level[place] >= edge;
          if (inside === (level[place - 1] >= edge) && inside === (level[place - w] >= edge)) continue;
          if (n === 1 && ((x + y) >> 2) % 2) continue; // dashed: the other side
          for (const [step, c] of [[0, 255], [1, 0]]) {
            const at = (place + step) * 4;
            picture.data[at] = picture.data[at + 1] = picture.data[at + 2] = c; picture.data[at + 3] = 255;
          }
        }
      });
      context.putImageData(picture, 0, 0);
      find(".opacity + output").textContent = opacity.value + " %";
      find(".threshold + output").textContent = both() ? threshold.value + " %" : number(low + cut * (high - low));
      find(".low").textContent = number(low) + " nats"; find(".high").textContent = number(high) + " nats";
      const stops = (ramp) => ramp.map((c) => `rgb(${c.join(",")})`);
      find(".ramp").style.background = both()
        ? `linear-gradient(to right, ${[...stops(AGAINST)].reverse().join(",")}, transparent, ${stops(FOR).join(",")})`
        : `linear-gradient(to right, ${stops(ramps[0]).join(",")})`;
      if (both()) { find(".low").textContent = "for the other"; find(".high").textContent = "for this one"; }
    };
    stage.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * canvas.width, y = (event.clientY - box.top) / box.height * canvas.height;
      const texts = shown().map((map) => value(map, x, y)).map((v) => (v === null ? "not seen by the model" : number(v) + " nats"));
      probe.textContent = both() && texts[0].endsWith("nats") ? `${texts[0]} for, ${texts[1]} against` : texts[0];
      const [px, py] = [event.clientX - box.left, event.clientY - box.top];
      probe.style.left = px + "px"; probe.style.top = py + "px";
      probe.style.transform = `translate(${px > box.width / 2 ? "calc(-100% - .5rem)" : ".75rem"}, ${py > box.height / 2 ? "calc(-100% - .5rem)" : ".75rem"})`;
      probe.style.visibility = "visible";
    });
    stage.addEventListener("pointerleave", () => { probe.style.visibility = "hidden"; });
    for (const knob of figure.querySelectorAll(".knobs input, .knobs select")) knob.addEventListener("input", draw);
    draw();
  }
})();

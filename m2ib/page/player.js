// The sound of a figure: a play-head over every panel that has the moment, and a click that plays from there.
// The audio may hold parts of the source only; times of panels are those of the source.
// Under a map there is a choice: the whole, what the map keeps of it, and what is left of the whole without that.
(() => {
  "use strict";
  const bytes = (url) => Uint8Array.from(atob(url.split(",")[1]), (letter) => letter.charCodeAt(0));
  const samples = (content) => new Int16Array(content.buffer, 44); // behind the header of a WAV of 16 bits
  const rest = (whole, parts) => {
    const content = bytes(whole), left = samples(content);
    for (const part of parts) samples(bytes(part)).forEach((v, n) => { left[n] = Math.min(Math.max(left[n] - v, -32768), 32767); });
    return URL.createObjectURL(new Blob([content], { type: "audio/wav" }));
  };
  for (const figure of document.querySelectorAll("figure.heat")) {
    const audio = figure.querySelector("audio");
    if (!audio || audio.dataset.ready) continue;
    audio.dataset.ready = "1";
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent), played = data.sound.played;
    const toSource = (time) => {
      for (const [start, end] of played) { if (time <= end - start) return start + time; time -= end - start; }
      return played[played.length - 1][1];
    };
    const toAudio = (moment) => { // a moment that is not played: where the next part begins
      let before = 0;
      for (const [start, end] of played) {
        if (moment <= end) return before + Math.max(moment - start, 0);
        before += end - start;
      }
      return before;
    };
    const heads = [...figure.querySelectorAll(".stage")].map((stage, n) => {
      const head = document.createElement("div"), panel = data.panels[n], [first, last] = panel.x.values;
      head.className = "head";
      stage.append(head);
      return (moment) => {
        const share = (moment - first) / (last - first);
        head.hidden = share < 0 || share > (panel.padding === null ? 1 : panel.padding / panel.width);
        head.style.left = share * 100 + "%";
      };
    });
    const show = () => { const moment = toSource(audio.currentTime); for (const head of heads) head(moment); };
    const run = () => { show(); if (!audio.paused) requestAnimationFrame(run); };
    figure.addEventListener("pick", (event) => {
      audio.currentTime = toAudio(event.detail);
      show();
      audio.play().catch(() => {}); // a browser may not let a page play yet; the play-head stands there
    });
    audio.addEventListener("play", run);
    const sources = { whole: audio.src, ...data.sound.parts }, choices = [...figure.querySelectorAll(".parts input")];
    const choose = () => { // goes on from where it is
      const chosen = choices.find((choice) => choice.checked).value, at = audio.currentTime, playing = !audio.paused;
      if (!sources[chosen]) sources[chosen] = rest(sources.whole, Object.values(data.sound.parts));
      audio.src = sources[chosen];
      audio.currentTime = at;
      if (playing) audio.play().catch(() => {});
    };
    for (const choice of choices) choice.addEventListener("change", choose);
    if (choices.length && !choices[0].checked) choose(); // a browser may keep what was chosen before the page was loaded anew
    for (const moment of ["seeked", "timeupdate"]) audio.addEventListener(moment, show);
    show();
  }
})();

"use strict";

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// Fills `root`, which holds the markup of player.html, with the videos that `data` names in the
// folder `base`; `decorate` may add to a tile's caption. It rests when `root` leaves the document.
function player(root, data, base = "", decorate = () => {}) {
  const $ = (query) => root.querySelector(query);
  const slider = $("#time"), play = $("#play"), speed = $("#speed"), dialog = $("dialog");
  const moving = data.tiles.every((tile) => tile.source.endsWith(".mp4"));
  const length = data.frames / data.rate, hold = 800;
  let playing = moving && !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let ended = 0, large = -1;

  function film(tile) {
    const made = document.createElement(moving ? "video" : "img");
    if (moving) Object.assign(made, { loop: true, muted: true, playsInline: true, preload: "auto" });
    made.width = data.width;
    made.height = data.height;
    made.src = base + encodeURIComponent(tile.source);
    return made;
  }

  root.style.setProperty("--aspect", data.width / data.height);

  const films = data.tiles.map((tile, index) => {
    const figure = element("figure", undefined, $(".tiles")), video = film(tile);
    figure.className = "tile " + tile.kind;
    figure.tabIndex = 0;
    figure.title = "Enlarge";
    figure.append(video);
    const caption = element("figcaption", undefined, figure);
    element("b", tile.label, caption);
    element("span", tile.note, caption);
    decorate(caption, tile);
    figure.addEventListener("click", () => enlarge(index));
    figure.addEventListener("keydown", (event) => { if (event.key === "Enter") enlarge(index); });
    return video;
  });

  // One clock: the first video plays, and the others follow it.
  const leader = films[0];
  function index() { return Math.min(data.frames - 1, Math.max(0, Math.floor(leader.currentTime * data.rate + 1e-3))); }
  function go(frame) { for (const video of films) video.currentTime = Math.min(length - 1e-3, (frame + 0.5) / data.rate); }

  function show() {
    const frame = index(), seen = frame < data.observed, after = (frame - data.observed + 1) / data.rate;
    slider.value = frame;
    const sign = Math.abs(after) < 0.005 ? "" : after > 0 ? "+" : "−";
    $("output").textContent = sign + Math.abs(after).toFixed(2) + " s " + data.words[seen ? 0 : 1];
    root.classList.toggle("seen", seen);
    play.textContent = playing ? "Pause" : "Play";
  }

  function set(wanted) {
    playing = wanted;
    ended = 0;
    for (const video of films) {
      video.playbackRate = Number(speed.value);
      if (!playing) video.pause();
      else video.play().catch(() => {});
    }
    show();
  }

  function tick(now) {
    if (!root.isConnected) return;
    if (playing && leader.ended) {  // the last frame stays for a moment
      ended = ended || now;
      if (now - ended > hold) { go(0); set(true); }
    } else if (playing) {
      for (const video of films.slice(1)) {
        // Who lags plays faster; seeking would make it lag more.
        const lag = leader.currentTime - video.currentTime;
        video.playbackRate = Number(speed.value) * Math.min(1.5, Math.max(0.67, 1 + 2 * lag));
        if (video.paused && !video.ended) video.play().catch(() => {});
      }
      show();
    }
    requestAnimationFrame(tick);
  }

  function enlarge(number) {
    large = (number + data.tiles.length) % data.tiles.length;
    const tile = data.tiles[large], video = film(tile);
    dialog.querySelector("video, img")?.remove();
    dialog.prepend(video);
    dialog.querySelector("b").textContent = tile.label;
    dialog.querySelector("span").textContent = tile.note;
    if (moving) {
      video.controls = true;
      video.muted = false;
      video.playbackRate = Number(speed.value);
      set(false);
      video.play().catch(() => { video.muted = true; video.play().catch(() => {}); });
    }
    if (!dialog.open) dialog.showModal();
  }

  $("#previous").addEventListener("click", () => enlarge(large - 1));
  $("#next").addEventListener("click", () => enlarge(large + 1));
  $("#close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { dialog.querySelector("video, img")?.remove(); if (moving) set(true); });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") enlarge(large + 1);
    if (event.key === "ArrowLeft") enlarge(large - 1);
  });

  if (moving) {
    const seam = 100 * data.observed / data.frames;
    $(".track div").style.background = "linear-gradient(90deg, var(--observed) " + seam + "%, var(--predicted) " + seam + "%)";
    slider.max = data.frames - 1;
    for (const video of films) video.loop = false;
    slider.addEventListener("input", () => { const frame = Number(slider.value); set(false); go(frame); });
    leader.addEventListener("seeked", show);
    play.addEventListener("click", () => { if (leader.ended) go(0); set(!playing); });
    speed.addEventListener("change", () => set(playing));
    document.addEventListener("keydown", function press(event) {
      if (!root.isConnected) return document.removeEventListener("keydown", press);
      if (dialog.open || event.target.closest("select, button, input, a, video")) return;
      if (event.key === " ") { event.preventDefault(); set(!playing); }
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) { const frame = (index() + by + data.frames) % data.frames; set(false); go(frame); }
    });
    const ready = films.map((video) => new Promise((done) => {
      if (video.readyState > 2) done();
      for (const name of ["canplay", "error"]) video.addEventListener(name, done, { once: true });
    }));
    Promise.all(ready).then(() => { if (!playing) go(data.observed); set(playing); });
    requestAnimationFrame(tick);
  } else $(".controls").remove();

  const about = $(".about");
  for (const { title, source, words, wide } of data.pictures) {
    const part = element("section", undefined, about);
    part.className = wide ? "explained wide" : "explained";
    const picture = element("img", undefined, element("figure", undefined, part));
    picture.src = source;
    picture.alt = title;
    const text = element("div", undefined, part);
    element("h2", title, text);
    element("p", words, text);
  }
  data.tables.forEach(({ title, rows }, number) => {
    const details = element("details", undefined, about);
    details.open = number < data.tables.length - 1;
    element("summary", title, details);
    const wide = element("div", undefined, details);
    wide.className = "wide";
    const table = element("table", undefined, wide);
    rows.forEach((cells) => {
      const row = element("tr", undefined, table);
      cells.forEach((cell, at) => element(at ? "td" : "th", cell, row));
    });
  });
}

"use strict";
const by = (id) => document.getElementById(id);
const largest = Number(document.body.dataset.largest);
const wanted = new Set();  // jobs asked for here, which are shown when they are done
let shown = "";

async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => null);
  if (!answer) throw new Error("The server cannot be reached.");
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.error || `The server refuses this (${answer.status}).`);
  }
  return answer;
}

// A place for a clip: it is dropped or chosen, sent, shown, and a moment of it chosen.
function place(section, title, words) {
  section.append(by("clip").content.cloneNode(true));
  const $ = (query) => section.querySelector(query);
  const drop = $(".drop"), file = $("input[type=file]"), figure = $("figure"), video = $("video");
  const still = $("img"), slider = $("input[type=range]"), error = $(".error");
  let clip = null, sending = null, later = 0;
  $(".drop b").textContent = title;
  $(".drop span").textContent = words;
  slider.setAttribute("aria-label", "The moment");

  function seek() {
    const at = slider.value / clip.rate;
    if (still.hidden) video.currentTime = at + 0.4 / clip.rate;
    clearTimeout(later);
    if (!still.hidden) later = setTimeout(() => { still.src = `clips/${clip.id}/still?at=${Math.min(at, clip.last)}`; }, 150);
  }
  function show() {
    const at = clip ? slider.value / clip.rate : 0, end = clip && Number(slider.value) === Number(slider.max);
    $("output").textContent = clip ? (end ? `at its end, ${at.toFixed(2)} s` : `at ${at.toFixed(2)} of ${clip.last.toFixed(2)} s`) : "";
    const ahead = clip ? [at, Math.min(clip.last, at + Number(by("seconds").value))].map((t) => `${100 * t / clip.last}%`) : [0, 0];
    $(".track div").style.background = `linear-gradient(90deg, var(--observed) ${ahead[0]}, var(--predicted) ${ahead[0]} ${ahead[1]}, var(--line) ${ahead[1]})`;
  }
  function clear() {
    sending?.abort();
    clip = null;
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    still.removeAttribute("src");
    file.value = error.textContent = "";
    figure.hidden = true;
    drop.hidden = false;
    refresh();
  }
  async function take(given) {
    clear();
    if (given.size > largest) { error.textContent = `A clip may have ${largest / 2 ** 30} GB at most.`; return; }
    drop.hidden = true;
    figure.hidden = video.hidden = false;
    still.hidden = slider.disabled = true;
    video.src = URL.createObjectURL(given);
    $("figcaption b").textContent = given.name;
    $("figcaption span").textContent = "is being read …";
    $("output").textContent = "";
    const sent = sending = new AbortController();
    try {
      const answer = await ask(`clips?name=${encodeURIComponent(given.name)}`, { method: "POST", body: given, signal: sent.signal });
      const found = await answer.json();
      if (sent.signal.aborted) return;
      clip = found;
      if (video.error) unplayable();
      slider.disabled = false;
      slider.value = slider.max = Math.round(clip.last * clip.rate);
      $("figcaption span").textContent = `${clip.width}×${clip.height}, ${Number(clip.rate.toFixed(2))} frames a second`;
      seek();
    } catch (problem) {
      if (sent.signal.aborted) return;
      clear();
      error.textContent = problem.message;
    }
    refresh();
  }
  function unplayable() {  // this browser does not play the format: the server gives single frames
    video.hidden = true;
    still.hidden = false;
    if (clip) seek();
  }

  video.addEventListener("error", () => { if (video.getAttribute("src")) unplayable(); });
  video.addEventListener("loadeddata", () => { if (clip) seek(); });
  slider.addEventListener("input", () => { seek(); refresh(); });
  file.addEventListener("change", () => { if (file.files[0]) take(file.files[0]); });
  $("figcaption button").addEventListener("click", () => { clear(); file.focus(); });
  return { take, show, get clip() { return clip; }, get at() { return clip ? Math.min(slider.value / clip.rate, clip.last) : 0; } };
}

const first = place(by("first"), "Drop a clip here", "or press to choose one: MP4, MOV, MKV, WebM, AVI, GIF …");
const second = place(by("second"), "A second clip, if you like", "the first one then moves as this one does");

function refresh() {
  first.show();
  second.show();
  const { clip } = first, swap = Boolean(second.clip), compare = by("compare");
  const goesOn = Boolean(clip) && !swap && first.at + Number(by("seconds").value) <= clip.last + 1e-6;
  by("second").hidden = !clip && !swap;
  by("go").disabled = !clip;
  by("go").textContent = swap ? "Swap" : "Predict";
  compare.disabled = !goesOn;
  by("why").textContent = !clip || goesOn ? "" : swap
    ? "The frames up to both moments are used: what is seen comes from the first clip, how it moves from the second."
    : "Choose an earlier moment to see what really happened beside the samples.";
}

by("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  by("wrong").textContent = "";
  const asked = { clip: first.clip.id, at: first.at, second: second.clip?.id, at_second: second.at, model: by("model").value,
    samples: Number(by("samples").value), seconds: Number(by("seconds").value), compare: by("compare").checked && !by("compare").disabled };
  try {
    const job = await (await ask("jobs", { method: "POST", body: JSON.stringify(asked) })).json();
    wanted.add(job.id);
  } catch (problem) { by("wrong").textContent = problem.message; }
});
by("seconds").addEventListener("input", refresh);

for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => {
  event.preventDefault();
  const target = event.target.closest?.("#second") || by("first");
  target.classList.toggle("over", name === "dragover");
  if (name === "drop" && event.dataTransfer.files[0]) (target.id === "second" ? second : first).take(event.dataTransfer.files[0]);
});

const rows = new Map();
function row(job) {
  const made = element("li", undefined, by("jobs")), words = element("div", undefined, made);
  const parts = { made, title: element("b", job.title, words), text: element("span", undefined, words) };
  parts.title.after(" ");
  parts.view = element("button", "Show", made);
  parts.drop = element("button", "Cancel", made);
  parts.bar = element("progress", undefined, made);
  parts.bar.setAttribute("aria-label", job.title);
  parts.view.addEventListener("click", () => view(parts.job));
  parts.drop.addEventListener("click", () => ask(`jobs/${job.id}`, { method: "DELETE" }).catch(() => {}));
  return parts;
}

function list(jobs) {
  for (const [id, { made }] of rows) if (!jobs.some((job) => job.id === id)) { made.remove(); rows.delete(id); if (shown === id) close(); }
  for (const job of jobs) {
    if (!rows.has(job.id)) rows.set(job.id, row(job));
    const parts = rows.get(job.id), active = ["waiting", "running"].includes(job.state);
    if (parts.job && parts.job.state !== job.state) by("status").textContent = `${job.title}: ${job.state}. ${active ? "" : job.text}`;
    parts.job = job;
    parts.made.className = job.state + (shown === job.id ? " shown" : "");
    const percent = job.state === "running" && job.share !== null ? ` (${Math.round(100 * job.share)} %)` : "";
    parts.text.textContent = [job.state === "waiting" ? "waits" : job.text + percent, ...job.notes].filter(Boolean).join(" · ");
    parts.view.hidden = job.state !== "done";
    parts.drop.textContent = active ? "Cancel" : "Remove";
    parts.bar.hidden = job.state !== "running";
    if (job.share === null) parts.bar.removeAttribute("value"); else parts.bar.value = job.share;
    if (job.state === "done" && wanted.delete(job.id)) view(job);
  }
}

function close() { shown = ""; by("result").replaceChildren(); }

// The page that `drsvg predict` writes holds all that is known of a result.
async function view(job) {
  const base = `jobs/${job.id}/`, text = await (await ask(base + "index.html")).text();
  const data = JSON.parse(text.match(/<script id="data"[^>]*>(.*?)<\/script>/s)[1]);
  close();
  shown = job.id;
  for (const [id, { made }] of rows) made.classList.toggle("shown", id === shown);
  const title = element("h2", data.title, by("result")), subtitle = element("p", data.subtitle, by("result")), root = element("div");
  title.className = subtitle.className = "inset";
  root.append(by("player").content.cloneNode(true));
  by("result").append(root);
  player(root, data, base, (caption, tile) => {
    const keep = element("a", "Keep", caption);
    keep.href = base + encodeURIComponent(tile.source);
    keep.download = `${data.title.replace(/\.\w+$/, "")}_${tile.source}`;
    keep.className = "keep";
    keep.title = "Download this video";
    keep.setAttribute("aria-label", `Keep ${tile.label}`);
    for (const name of ["click", "keydown"]) keep.addEventListener(name, (event) => event.stopPropagation());
  });
  title.tabIndex = -1;
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "start" });
}

const told = new EventSource("events");
told.addEventListener("message", (event) => list(JSON.parse(event.data)));
told.addEventListener("open", () => { by("lost").hidden = true; });
told.addEventListener("error", () => { by("lost").hidden = false; });
refresh();

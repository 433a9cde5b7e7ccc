"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const items = [...document.querySelectorAll("[data-item]")];
  const form = document.getElementById("filters");
  const SVG = "http://www.w3.org/2000/svg";

  // What the filters ask for; a number that is missing or at its end asks for nothing.
  const wanted = () => {
    const value = (name) => (form && form.elements[name] ? form.elements[name].value : "");
    const bound = (name, end) => {
      const field = form && form.elements[name];
      if (!field || field.value === "" || Number(field.value) === Number(field[end])) return null;
      return Number(field.value);
    };
    return {
      distortion: value("distortion"), level: value("level"), split: value("split"),
      text: value("text").trim().toLowerCase(),
      label: [bound("label-from", "min"), bound("label-to", "max")],
      similarity: [bound("similarity-from", "min"), bound("similarity-to", "max")],
    };
  };
  const within = (value, [from, to]) => (from === null || value >= from) && (to === null || value <= to);

  const passes = (item, want) => {
    const has = item.dataset;
    for (const name of ["distortion", "level", "split"]) {
      if (want[name] && has[name] !== undefined && has[name] !== want[name]) return false;
    }
    for (const name of ["label", "similarity"]) {
      if (has[name] !== undefined && !within(Number(has[name]), want[name])) return false;
    }
    return !want.text || has.text === undefined || has.text.includes(want.text);
  };

  // Labels of the images that pass: from counts by distortion, level, split, similarity and label.
  const countLabels = (want) => {
    const bins = data.edges.length - 1;
    const found = new Array(bins).fill(0);
    const middle = (at) => (data.edges[at] + data.edges[at + 1]) / 2;
    for (const [name, level, split, bands] of data.cells) {
      if (want.distortion && want.distortion !== name) continue;
      if (want.level && want.level !== String(level)) continue;
      if (want.split && want.split !== split) continue;
      bands.forEach((counts, band) => {
        if (!counts || !within((band + 0.5) / data.bands, want.similarity)) return;
        counts.forEach((number, at) => { if (within(middle(at), want.label)) found[at] += number; });
      });
    }
    return found;
  };

  const roundTicks = (most) => {
    const raw = most / 5, power = 10 ** Math.floor(Math.log10(raw));
    const step = Math.max(1, [1, 2, 2.5, 5, 10].map((by) => by * power).find((by) => by >= raw));
    const ticks = [];
    for (let at = 0; at <= most; at += step) ticks.push(at);
    return ticks;
  };

  const drawBars = (counts) => {
    const bars = document.querySelector("[data-bars]");
    if (!bars) return;
    const axis = bars.parentNode.querySelector("[data-top]");
    const [top, bottom, left, right] = ["top", "bottom", "left", "right"].map((name) => Number(axis.dataset[name]));
    const most = Math.max(1, ...counts);
    const place = (count) => bottom - ((bottom - top) * count) / most;
    [...bars.children].forEach((bar, at) => {
      bar.setAttribute("y", place(counts[at]));
      bar.setAttribute("height", bottom - place(counts[at]));
      bar.querySelector("title").textContent =
        `${data.edges[at]} to ${data.edges[at + 1]}: ${counts[at].toLocaleString("en")} images`;
    });
    axis.querySelectorAll(".grid, text:not(.title)").forEach((old) => old.remove());
    for (const tick of roundTicks(most)) {
      const line = document.createElementNS(SVG, "line");
      for (const [name, value] of [["class", "grid"], ["x1", left], ["x2", right], ["y1", place(tick)], ["y2", place(tick)]]) {
        line.setAttribute(name, value);
      }
      const text = document.createElementNS(SVG, "text");
      for (const [name, value] of [["x", left - 6], ["y", place(tick) + 4], ["text-anchor", "end"]]) text.setAttribute(name, value);
      text.textContent = tick.toLocaleString("en");
      axis.append(line, text);
    }
  };

  const apply = () => {
    const want = wanted();
    for (const item of items) item.hidden = !passes(item, want);
    document.querySelectorAll("path[data-distortion]").forEach((path) => {
      path.toggleAttribute("hidden", Boolean(want.distortion) && path.dataset.distortion !== want.distortion);
    });
    document.querySelectorAll("[data-group]").forEach((group) => {
      group.hidden = !group.querySelector("[data-item]:not([hidden])");
    });
    document.querySelectorAll(".none").forEach((note) => {
      note.hidden = Boolean(note.parentNode.querySelector("[data-item]:not([hidden])"));
    });
    const said = [];
    if (data.cells) {
      const counts = countLabels(want);
      drawBars(counts);
      said.push(`${counts.reduce((sum, one) => sum + one, 0).toLocaleString("en")} images`);
    }
    const tiles = items.filter((item) => item.dataset.picture);
    if (tiles.length) said.push(`${tiles.filter((tile) => !tile.hidden).length} of ${tiles.length} pictures shown`);
    const output = document.getElementById("matches");
    if (output) output.textContent = said.join(", ");
  };

  if (form) {
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    if (window.matchMedia("(max-width: 700px)").matches) form.closest("details").open = false;
    apply();
  }

  const order = document.getElementById("order");
  if (order) {
    order.addEventListener("change", () => {
      const by = order.value === "number" ? "number" : "mean";
      document.querySelectorAll("[data-sorted]").forEach((grid) => {
        const strips = [...grid.querySelectorAll("[data-group]")];
        strips.sort((one, other) => one.dataset[by] - other.dataset[by]).forEach((strip) => grid.append(strip));
      });
    });
  }

  // The viewer: a picture at full size where the file holds it, else the small one, larger.
  const viewer = document.getElementById("viewer");
  const stage = document.getElementById("viewer-stage");
  let shown = null;
  const visible = () => [...document.querySelectorAll("[data-picture]")].filter((tile) => !tile.hidden);
  const show = (tile) => {
    shown = tile;
    const { picture, caption, command } = tile.dataset;
    document.getElementById("viewer-title").textContent = caption;
    const note = document.getElementById("viewer-note");
    if (pictures[picture]) {
      const image = document.createElement("img");
      image.alt = caption;
      image.src = pictures[picture];
      stage.replaceChildren(image);
      note.textContent = "At full size, one pixel of the picture to one of the page.";
    } else {
      const small = tile.querySelector("svg").cloneNode(true);
      small.removeAttribute("aria-hidden");
      small.setAttribute("role", "img");
      small.setAttribute("aria-label", caption);
      stage.replaceChildren(small);
      note.textContent = "Enlarged from a small picture, to keep this file small." + (command ? ` At full size: ${command}` : "");
    }
    if (!viewer.open) viewer.showModal();
  };
  const turn = (by) => {
    const all = visible();
    if (all.length) show(all[(all.indexOf(shown) + by + all.length) % all.length]);
  };
  document.querySelectorAll("[data-picture]").forEach((tile) => {
    if (pictures[tile.dataset.picture]) tile.classList.add("full");
    tile.addEventListener("click", () => show(tile));
  });
  document.getElementById("viewer-before").addEventListener("click", () => turn(-1));
  document.getElementById("viewer-next").addEventListener("click", () => turn(1));
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    else if (event.key === "ArrowRight") turn(1);
    else return;
    event.preventDefault();
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => { if (shown) shown.focus(); });
})();

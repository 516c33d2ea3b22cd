"use strict";
// Draws the charts of the page from the JSON in #data, with Apache ECharts.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const SHEET = document.getElementById("sheet");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  // Okabe and Ito: told apart with every kind of colour vision; black and yellow suit one ground only
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f"];
  const DARK = ["#56b4e9", "#e8853d", "#2fbf95", "#e19cc3", "#e6b23c", "#9ad0f5", "#c9a86a", "#b0b0b0"];
  const SHAPES = ["circle", "triangle", "rect", "diamond", "pin"];
  const colours = () => (dark.matches ? DARK : COLOURS);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const short = (x) => (x === null ? "–" : Math.abs(x) >= 1000 ? x.toLocaleString("en") : String(Number(x.toPrecision(4))));
  const charts = [];

  function sheetAddress() { // a short address for the long one, which every .pic would repeat
    const [head, body] = SHEET.src.split(",");
    if (!body) return SHEET.src;
    const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
    return URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
  }
  document.documentElement.style.setProperty("--sheet", `url(${sheetAddress()})`);
  function paint(place) { // moves the sheet of thumbnails behind a .pic
    const { columns, rows } = DATA.sheet, n = Number(place.dataset.n);
    const part = (at, count) => (count > 1 ? `${(at / (count - 1)) * 100}%` : "0");
    place.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
    place.style.backgroundPosition = `${part(n % columns, columns)} ${part(Math.floor(n / columns), rows)}`;
  }
  function pic(n, words) {
    const place = document.createElement("span");
    place.className = "pic";
    place.dataset.n = n;
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", words);
    paint(place);
    return place;
  }
  function line(words) {
    const span = document.createElement("span");
    span.style.display = "block";
    span.textContent = words;
    return span;
  }
  document.querySelectorAll(".pic").forEach(paint);

  function base() {
    return {
      animation: false,
      textStyle: { fontFamily: "system-ui, sans-serif", color: css("--ink") },
      tooltip: { trigger: "axis", confine: true, appendTo: undefined, backgroundColor: css("--ground"), borderColor: css("--line"), textStyle: { color: css("--ink"), fontSize: 12 } },
    };
  }
  function axis(name, more) {
    return Object.assign({
      type: "value", name, nameLocation: "middle", nameGap: 24, nameTextStyle: { color: css("--soft") },
      axisLabel: { color: css("--soft"), hideOverlap: true }, axisLine: { lineStyle: { color: css("--line") } },
      splitLine: { lineStyle: { color: css("--line"), opacity: 0.6 } },
    }, more);
  }

  function lines(spec) { // curves over steps, each with its name at its end
    const palette = colours();
    const single = spec.series.length === 1;
    const series = spec.series.map((one, i) => ({
      type: "line", name: one.name, data: one.points, showSymbol: one.points.length < 40, symbolSize: 4, symbol: SHAPES[i % 3],
      connectNulls: true, color: palette[i % palette.length],
      lineStyle: { width: 2, type: ["solid", "dashed", "dotted"][Math.floor(i / 2) % 3] },
      endLabel: { show: !single, formatter: "{a}", color: palette[i % palette.length], distance: 4, overflow: "truncate", width: 110 },
      labelLayout: { moveOverlap: "shiftY" },
    }));
    const marks = [];
    if (spec.level != null) marks.push({ yAxis: spec.level, label: { formatter: spec.level_name, position: "insideEndTop", color: css("--soft") }, lineStyle: { color: css("--soft"), type: "dashed" } });
    (spec.marks || []).forEach((mark) => marks.push({ xAxis: mark.step, label: { formatter: String(mark.number), position: "end", color: css("--alarm"), fontWeight: "bold" }, lineStyle: { color: css("--alarm"), type: "dotted", width: 2 } }));
    if (series.length && marks.length) series[0].markLine = { symbol: "none", silent: true, data: marks, precision: 6 };
    const at = spec.series.length && spec.series[0].points.length ? spec.series[0].points[0][0] : 0;
    if (spec.level != null) series.push({ type: "line", data: [[at, spec.level]], symbol: "none", silent: true, tooltip: { show: false } }); // so that the axis reaches it
    return Object.assign(base(), {
      grid: { left: 8, right: single ? 18 : 122, top: spec.marks && spec.marks.length ? 26 : 14, bottom: 30, containLabel: true },
      xAxis: axis(spec.x || "step", { min: "dataMin", max: "dataMax", splitLine: { show: false } }),
      yAxis: axis("", { scale: true, min: spec.min, max: spec.max }),
      series,
      tooltip: Object.assign(base().tooltip, { valueFormatter: (value) => short(value), axisPointer: { label: { formatter: (p) => `step ${short(p.value)}` } } }),
    });
  }

  function bars(spec) { // histograms over each other
    const palette = colours();
    return Object.assign(base(), {
      grid: { left: 8, right: 18, top: 56, bottom: 30, containLabel: true },
      legend: { top: 0, left: 0, orient: "vertical", textStyle: { color: css("--ink") }, selectedMode: false },
      xAxis: axis(spec.x, { min: -1, max: 1, splitLine: { show: false } }),
      yAxis: axis("", { min: 0, axisLabel: { color: css("--soft"), formatter: (v) => `${Math.round(v * 100)} %` } }),
      series: spec.series.map((one, i) => ({
        type: "line", step: "middle", name: one.name, data: one.points, showSymbol: false, symbol: SHAPES[i], color: palette[i],
        lineStyle: { width: 2, type: i ? "dashed" : "solid" }, areaStyle: { opacity: 0.18 },
      })),
      tooltip: Object.assign(base().tooltip, { valueFormatter: (value) => `${(value * 100).toFixed(1)} %` }),
    });
  }

  function spans(spec) { // shares with their intervals, one line per class
    const names = spec.rows.map((row) => row.name);
    return Object.assign(base(), {
      grid: { left: 8, right: 50, top: 6, bottom: 30, containLabel: true },
      xAxis: axis(spec.x, { min: 0, max: 1, axisLabel: { color: css("--soft"), formatter: (v) => `${Math.round(v * 100)} %` } }),
      yAxis: { type: "category", inverse: true, data: names, axisLabel: { color: css("--ink"), width: 120, overflow: "truncate", interval: 0 }, axisTick: { show: false }, axisLine: { lineStyle: { color: css("--line") } } },
      series: [
        { type: "bar", stack: "interval", silent: true, itemStyle: { color: "transparent" }, data: spec.rows.map((row) => row.low), barWidth: 8 },
        { type: "bar", stack: "interval", silent: true, itemStyle: { color: css("--line"), borderRadius: 4 }, data: spec.rows.map((row) => row.high - row.low), barWidth: 8 },
        { type: "scatter", data: spec.rows.map((row) => [row.value, row.name]), symbolSize: 11, color: css("--accent"), label: { show: true, position: "right", formatter: (p) => `${Math.round(p.value[0] * 100)} %`, color: css("--ink") } },
      ],
      tooltip: { show: false },
    });
  }

  function draw(name, spec) {
    const place = document.getElementById(`chart-${name}`);
    if (!place) return;
    const chart = echarts.init(place, null, { renderer: "svg" });
    const option = { lines, bars, spans }[spec.kind];
    charts.push({ chart, redraw: () => chart.setOption(option(spec), true) });
    charts[charts.length - 1].redraw();
  }
  for (const [name, spec] of Object.entries(DATA.charts)) draw(name, spec);
  if (DATA.map) drawMap(DATA.map);
  const resize = new ResizeObserver((entries) => entries.forEach((entry) => {
    const chart = echarts.getInstanceByDom(entry.target);
    if (chart) chart.resize();
  }));
  document.querySelectorAll(".chart").forEach((place) => resize.observe(place));
  dark.addEventListener("change", () => charts.forEach((one) => one.redraw()));

  // The map: hover shows the image, a click or Enter its neighbours; keys and buttons move and zoom.
  function drawMap(map) {
    const place = document.getElementById("chart-map");
    const panel = document.getElementById("near");
    const chart = echarts.init(place, null, { renderer: "canvas" });
    const cut = document.createElement("canvas").getContext("2d");
    const images = new Map();
    const zoom = { x: [0, 100], y: [0, 100] };
    let chosen = -1, only = -1, wheel = false;
    const words = (i) => (map.labels ? `${map.names[i]}, ${label(i)}` : map.names[i]);
    const label = (i) => (map.labels[i] < 0 ? "no label" : map.classes[map.labels[i]]);
    function image(i) { // a thumbnail as an address of its own
      if (!images.has(i)) {
        const { columns, side } = DATA.sheet, n = map.pictures[i];
        cut.canvas.width = cut.canvas.height = side;
        cut.drawImage(SHEET, (n % columns) * side, Math.floor(n / columns) * side, side, side, 0, 0, side, side);
        images.set(i, `image://${cut.canvas.toDataURL()}`);
      }
      return images.get(i);
    }
    const inside = (i) => ["x", "y"].every((a, k) => {
      const at = (map.points[i][k] + 0.05) / 1.1 * 100;
      return at >= zoom[a][0] - 3 && at <= zoom[a][1] + 3;
    });
    function series() {
      const visible = map.points.map((_, i) => i).filter(inside);
      const close = zoom.x[1] - zoom.x[0] < 99 && visible.length <= 220;
      const palette = colours();
      const shown = new Set(visible);
      const data = map.points.map((point, i) => {
        const known = map.labels && map.labels[i] >= 0;
        const dim = only >= 0 && (!known || map.labels[i] !== only);
        const c = known ? map.labels[i] : 0;
        const one = { value: point, symbol: known ? SHAPES[Math.floor(c / palette.length) % SHAPES.length] : "circle", symbolSize: 8, itemStyle: { color: dim ? css("--line") : palette[c % palette.length], opacity: dim ? 0.5 : 0.85 } };
        if (close && shown.has(i)) Object.assign(one, { symbol: image(i), symbolSize: Math.min(48, Math.max(24, place.clientWidth / 28)), itemStyle: { opacity: dim ? 0.25 : 1 } });
        return one;
      });
      const rings = chosen < 0 ? [] : [chosen, ...map.near[chosen]].map((i, k) => ({ value: map.points[i], symbol: "circle", symbolSize: close ? 56 : k ? 13 : 20, itemStyle: { color: "transparent", borderColor: k ? css("--ink") : css("--alarm"), borderWidth: k ? 1.5 : 3 } }));
      return [
        { type: "scatter", data, z: 2, emphasis: { scale: 1.4 } },
        { type: "scatter", data: rings, z: 3, silent: true },
        { type: "scatter", z: 4, silent: true, symbolSize: 0, data: map.centres || [], label: { show: true, formatter: (p) => p.value[2], color: css("--ink"), fontWeight: "bold", textBorderColor: css("--ground"), textBorderWidth: 3, fontSize: 13, width: 140, overflow: "truncate" }, labelLayout: { hideOverlap: true } },
      ];
    }
    function range(a) { return { start: zoom[a][0], end: zoom[a][1] }; }
    function redraw() {
      const hidden = { type: "value", show: false, min: -0.05, max: 1.05 };
      const behaviour = { type: "inside", filterMode: "none", zoomOnMouseWheel: wheel ? true : "ctrl", moveOnMouseWheel: false };
      chart.setOption(Object.assign(base(), {
        grid: { left: 0, right: 0, top: 0, bottom: 0 }, xAxis: hidden, yAxis: hidden,
        dataZoom: [{ xAxisIndex: 0, ...behaviour, ...range("x") }, { yAxisIndex: 0, ...behaviour, ...range("y") }],
        series: series(),
        tooltip: Object.assign(base().tooltip, { trigger: "item", formatter: tip }),
      }), true);
    }
    function tip(p) {
      if (p.seriesIndex !== 0) return "";
      const box = document.createElement("div");
      box.className = "tip";
      const picture = pic(map.pictures[p.dataIndex], words(p.dataIndex));
      box.append(picture, line(map.names[p.dataIndex]));
      if (map.labels) box.append(line(label(p.dataIndex)));
      return box;
    }
    function choose(i, said) {
      chosen = i;
      panel.replaceChildren();
      if (i < 0) { redraw(); return; }
      const head = document.createElement("p");
      head.textContent = `${words(i)} and its nearest neighbours:`;
      const row = document.createElement("div");
      row.className = "row";
      [i, ...map.near[i]].forEach((j, k) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "near";
        const picture = pic(map.pictures[j], words(j));
        button.append(picture);
        if (map.labels) button.append(line(label(j)));
        button.append(line(k ? map.cosines[i][k - 1].toFixed(3) : "chosen"));
        if (map.labels && map.labels[i] >= 0 && map.labels[j] !== map.labels[i]) button.classList.add("other");
        button.addEventListener("click", () => choose(j, true));
        row.append(button);
      });
      panel.append(head, row);
      redraw();
      if (said) place.setAttribute("aria-label", `${words(i)}. Arrow keys go to the next image, plus and minus zoom.`);
    }
    function set(a, from, to) {
      const width = Math.min(100, to - from);
      const start = Math.min(Math.max(0, from), 100 - width);
      zoom[a] = [start, start + width];
    }
    function scale(factor) {
      for (const [a, k] of [["x", 0], ["y", 1]]) {
        const middle = chosen >= 0 && factor < 1 ? (map.points[chosen][k] + 0.05) / 1.1 * 100 : (zoom[a][0] + zoom[a][1]) / 2;
        const half = Math.max(1, (zoom[a][1] - zoom[a][0]) / 2 * factor);
        set(a, middle - half, middle + half);
      }
      redraw();
    }
    function pan(dx, dy) {
      for (const [a, d] of [["x", dx], ["y", dy]]) { const w = zoom[a][1] - zoom[a][0]; set(a, zoom[a][0] + d * w, zoom[a][1] + d * w); }
      redraw();
    }
    function follow(i) { // keeps the chosen point in view
      for (const [a, k] of [["x", 0], ["y", 1]]) {
        const at = (map.points[i][k] + 0.05) / 1.1 * 100, w = zoom[a][1] - zoom[a][0];
        if (at < zoom[a][0] || at > zoom[a][1]) set(a, at - w / 2, at + w / 2);
      }
    }
    function step(dx, dy) { // to the nearest image in a direction
      const from = chosen < 0 ? [0.5, 0.5] : map.points[chosen];
      let best = -1, least = Infinity;
      map.points.forEach((point, i) => {
        if (i === chosen) return;
        const x = point[0] - from[0], y = point[1] - from[1], along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
        if (chosen >= 0 && along <= 0) return;
        const cost = Math.abs(along) + 2 * across;
        if (cost < least) { least = cost; best = i; }
      });
      if (best >= 0) { follow(best); choose(best, true); }
    }
    chart.on("datazoom", (event) => {
      const now = chart.getOption().dataZoom;
      zoom.x = [now[0].start, now[0].end];
      zoom.y = [now[1].start, now[1].end];
      clearTimeout(chart.later);
      chart.later = setTimeout(redraw, 60);
    });
    chart.on("click", (event) => { if (event.seriesIndex === 0) choose(event.dataIndex, false); });
    place.tabIndex = 0;
    const wheels = (on) => () => { if (wheel !== on) { wheel = on; redraw(); } };
    place.addEventListener("focus", wheels(true)); // before, the wheel scrolls the page
    place.addEventListener("blur", wheels(false));
    place.addEventListener("pointerdown", () => place.focus({ preventScroll: true }));
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    place.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in moves) { const [x, y] = moves[event.key]; if (event.shiftKey) pan(x * 0.2, y * 0.2); else step(x, y); }
      else if (event.key === "+" || event.key === "=") scale(0.6);
      else if (event.key === "-") scale(1 / 0.6);
      else if (event.key === "0") { zoom.x = [0, 100]; zoom.y = [0, 100]; redraw(); }
      else if (event.key === "Escape") choose(-1, false);
      else if (event.key === "Enter" && chosen >= 0) panel.querySelector("button").focus();
      else return;
      event.preventDefault();
    });
    document.querySelectorAll("[data-map]").forEach((button) => button.addEventListener("click", () => {
      if (button.dataset.map === "in") scale(0.6);
      else if (button.dataset.map === "out") scale(1 / 0.6);
      else { zoom.x = [0, 100]; zoom.y = [0, 100]; choose(-1, false); }
    }));
    const select = document.getElementById("only");
    if (select) select.addEventListener("change", () => { only = Number(select.value); redraw(); });
    charts.push({ chart, redraw });
    const start = () => { redraw(); window.mapState = { chart, map, zoom, get chosen() { return chosen; } }; };
    if (SHEET.complete) start(); else SHEET.addEventListener("load", start);
  }
})();

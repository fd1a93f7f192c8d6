/* What the pages need beside htmx: the theme, copying, plots, server-sent events, and words for screen readers.
   Everything from the server is put in as text; nothing here writes markup. */
"use strict";

(() => {
  const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
  const words = () => document.body.dataset;

  function say(text) {
    document.getElementById("said").textContent = text;
  }

  let noticed = 0;
  function notice(text) {
    const box = document.getElementById("notice");
    box.textContent = text;
    box.hidden = false;
    clearTimeout(noticed);
    noticed = setTimeout(() => { box.hidden = true; }, 8000);
  }

  /* ------------------------------------------------------------ theme: at once, and kept by the server's cookie */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-themes]") || !event.submitter) return;
    event.preventDefault();
    const theme = event.submitter.value;
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    for (const one of form.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === event.submitter));
    const body = new URLSearchParams({ theme, next: "/login" });
    fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => notice(words().saidOffline));
    redraw();
  });

  /* ------------------------------------------------------------ copying */
  function copies(root) {
    if (!navigator.clipboard) return;
    for (const one of root.querySelectorAll("button[data-copy][hidden]")) one.hidden = false;
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(button.dataset.copy).then(() => { say(words().saidCopied); notice(words().saidCopied); });
  });

  /* ------------------------------------------------------------ sliders say their value: data-percent names its output */
  document.addEventListener("input", (event) => {
    const place = document.getElementById(event.target.dataset.percent);
    if (!place) return;
    place.textContent = `${Math.round(100 * event.target.value)} %`;
    event.target.setAttribute("aria-valuetext", place.textContent);
  });

  /* ------------------------------------------------------------ htmx: only HTML goes in; the rest is told as text */
  document.addEventListener("htmx:beforeSwap", (event) => {
    const type = event.detail.xhr.getResponseHeader("content-type") || "";
    if (type.startsWith("text/html")) return;
    event.detail.shouldSwap = false;
    if (event.detail.xhr.status < 400) return;
    let message = words().saidFailed;
    try {
      const told = JSON.parse(event.detail.xhr.responseText).error;
      message = [told.message, told.hint, told.request_id].filter(Boolean).join(" · ");
    } catch { /* the status alone says enough */ }
    notice(message);
  });
  document.addEventListener("htmx:sendError", () => notice(words().saidOffline));
  document.addEventListener("htmx:timeout", () => notice(words().saidOffline));
  document.addEventListener("htmx:afterSwap", (event) => {
    const told = event.detail.target.querySelector("[data-said]");
    if (told) say(told.textContent);
  });
  document.addEventListener("htmx:load", (event) => ready(event.detail.elt));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.matches("form[data-clears]") && event.detail.successful) event.detail.elt.reset();
  });

  /* ------------------------------------------------------------ server-sent events
     <div data-follow="/jobs/1/events" hx-get="/jobs/1/state" hx-trigger="told">: every event named "told" makes htmx
     fetch anew; "text" adds its data to the element [data-follow-text] inside; "end" tells once more and closes. Where
     the server refuses the stream, as when too many follow, it is told as well and tried again for a while. */
  const TRIES = 20, AGAIN = 5000;
  function follow(element) {
    if (element.following) return;
    const source = element.following = new EventSource(element.dataset.follow);
    const gone = () => { if (!element.isConnected) { source.close(); return true; } return false; };
    source.addEventListener("told", () => { if (!gone()) htmx.trigger(element, "told"); });
    source.addEventListener("text", (event) => {
      if (gone()) return;
      const place = element.querySelector("[data-follow-text]");
      if (place) place.append(document.createTextNode(JSON.parse(event.data)));
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED || gone()) return;
      htmx.trigger(element, "told");
      element.refused = (element.refused ?? 0) + 1;
      if (element.refused < TRIES) setTimeout(() => { element.following = null; if (element.isConnected) follow(element); }, AGAIN);
    });
    source.addEventListener("end", () => { source.close(); if (element.isConnected) htmx.trigger(element, "told"); });
  }

  /* ------------------------------------------------------------ plots */
  let library = null;
  const drawn = new Map();

  function plotting() {
    library ||= new Promise((done, failed) => {
      const style = document.createElement("link");
      style.rel = "stylesheet";
      style.href = meta("plot-style");
      const script = document.createElement("script");
      script.src = meta("plot-script");
      script.onload = () => done(window.uPlot);
      script.onerror = failed;
      document.head.append(style, script);
    });
    return library;
  }

  function inks() {
    const probe = document.createElement("span");
    document.body.append(probe);
    const ink = (name) => { probe.className = `ink-${name}`; return getComputedStyle(probe).color; };
    const made = { text: ink("text"), line: ink("line"), series: [1, 2, 3, 4, 5, 6, 7, 8].map(ink) };
    probe.remove();
    return made;
  }
  const faint = (colour) => colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.18)");

  /* Bars side by side, and for bars and points the line from low to high. */
  function marks(one, bars) {
    const width = 0.8 / Math.max(bars.length, 1);
    const shift = one.kind === "bars" ? width * (bars.indexOf(one) - (bars.length - 1) / 2) : 0;
    return (plot, at, first, last) => {
      const stroke = new Path2D(), fill = new Path2D();
      const scale = plot.scales.y, floor = plot.valToPos(Math.max(scale.min, scale.distr === 3 ? scale.min : Math.min(0, scale.max)), "y", true);
      for (let i = first; i <= last; i++) {
        const value = plot.data[at][i];
        if (value == null) continue;
        const x = plot.valToPos(plot.data[0][i] + shift, "x", true);
        if (one.kind === "bars") {
          const y = plot.valToPos(value, "y", true);
          const half = Math.min((plot.valToPos(plot.data[0][i] + width, "x", true) - plot.valToPos(plot.data[0][i], "x", true)) / 2 - 1, 40);
          for (const path of [stroke, fill]) path.rect(x - half, Math.min(y, floor), 2 * half, Math.abs(y - floor));
        }
        if (one.low[i] == null || one.high[i] == null) continue;
        stroke.moveTo(x, plot.valToPos(one.low[i], "y", true));
        stroke.lineTo(x, plot.valToPos(one.high[i], "y", true));
      }
      return { stroke, fill: one.kind === "bars" ? fill : null, clip: null };
    };
  }

  /* A time in UTC, as far as steps of so many seconds need it. */
  function moment(at, step) {
    const said = new Date(1000 * at).toISOString();
    return step >= 86400 ? said.slice(0, 10) : !step ? `${said.slice(0, 10)} ${said.slice(11, 16)}` : said.slice(11, step < 60 ? 19 : 16);
  }

  function options(figure, width) {
    const ink = inks();
    const bars = figure.series.filter((one) => one.kind === "bars");
    const axis = (side, told) => ({
      stroke: ink.text, label: told.title, labelSize: 22, size: side === "y" ? 62 : 50,
      grid: { stroke: ink.line, width: 1 }, ticks: { stroke: ink.line, width: 1 },
    });
    const x = axis("x", figure.x);
    if (figure.names.length) {
      x.splits = () => figure.places;
      x.values = (plot, splits) => splits.map((at) => figure.names[figure.places.indexOf(at)] ?? "");
      x.rotate = figure.names.join("").length * 7 + figure.names.length * 12 > width - 80 ? -40 : 0;
      if (x.rotate) x.size = 90;
    }
    if (figure.x.time) x.values = (plot, splits, at, space, step) => splits.map((one) => moment(one, step));
    const named = (plot, at) => at == null ? "" : figure.names[figure.places.indexOf(at)] ?? (figure.x.time ? moment(at, 0) : String(at));
    const series = [{ label: figure.x.title, value: named }];
    const bands = [];
    const columns = [figure.places];
    figure.series.forEach((one, i) => {
      const colour = ink.series[i % ink.series.length];
      const made = { label: one.name, value: (plot, at) => at == null ? "" : String(+at.toPrecision(4)), stroke: colour, width: 2, spanGaps: one.kind === "line", points: { show: one.kind === "points" || (one.kind === "line" && figure.places.length < 40), size: one.kind === "points" ? 9 : 5, fill: colour } };
      if (one.kind !== "line") made.paths = marks(one, bars);
      if (one.kind === "bars") made.fill = faint(colour);
      series.push(made);
      columns.push(one.values);
      if (one.low.length) {
        const at = series.length;
        const edge = (label) => ({ label, class: "edge", stroke: faint(colour), width: 1, points: { show: false }, paths: one.kind === "line" ? undefined : () => null });
        series.push(edge(`${one.name} low`), edge(`${one.name} high`));
        columns.push(one.low, one.high);
        if (one.kind === "line") bands.push({ series: [at + 1, at], fill: faint(colour) });
      }
    });
    const scale = (told, pad) => ({ time: told.time, distr: told.log ? 3 : 1, ...(pad ? { range: pad } : {}) });
    const scattered = figure.series.some((one) => one.kind === "points");
    const padded = figure.names.length ? (plot, low, high) => [low - 0.6, high + 0.6]
      : figure.x.time && figure.places.length === 1 ? (plot, at) => [at - 300, at + 300] : !scattered ? null : figure.x.log ? (plot, low, high) => uPlot.rangeLog(low, high, 10, true)
      : (plot, low, high) => [low - 0.05 * (high - low || 1), high + 0.05 * (high - low || 1)];
    return [{
      width, height: 272, series, bands, tzDate: (at) => uPlot.tzDate(new Date(1000 * at), "Etc/UTC"), axes: [x, axis("y", figure.y)],
      scales: { x: scale(figure.x, padded), y: scale(figure.y, bars.length && !figure.y.log ? (plot, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] : null) },
      legend: { show: figure.series.length > 1 || figure.series.some((one) => one.low.length) }, cursor: { drag: { setScale: false } },
    }, columns];
  }

  /* A place is kept from before its figure is asked for: whoever draws it meanwhile waits for the same figure, and the
     plot that is there goes in the step in which the next one comes, so that there is never a second. */
  async function draw(place) {
    const own = drawn.get(place) ?? { figure: fetch(place.dataset.plot).then((told) => told.json()), plot: null };
    drawn.set(place, own);
    try {
      const figure = await own.figure;
      const uPlot = await plotting();
      if (!place.isConnected) return;
      const [told, columns] = options(figure, Math.max(place.clientWidth, 200));
      own.plot?.destroy();
      own.plot = new uPlot(told, columns, place);
    } catch {
      drawn.delete(place);
      place.textContent = words().saidNoPlot;
    }
  }

  function redraw() {
    for (const place of [...drawn.keys()]) place.isConnected ? draw(place) : drawn.delete(place);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) drawn.get(target)?.plot?.setSize({ width: Math.max(target.clientWidth, 200), height: 272 });
  });

  function ready(root) {
    copies(root);
    const within = (query) => [...(root.matches?.(query) ? [root] : []), ...root.querySelectorAll(query)];
    for (const one of within("[data-follow]")) follow(one);
    for (const one of within("[data-plot]")) if (!drawn.has(one)) { sizes.observe(one); draw(one); }
  }
  const here = document.querySelector(".pages [aria-current]"), row = here?.closest(".pages");
  if (row) row.scrollLeft = here.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;  // on a phone, where it scrolls
  if (!window.htmx) ready(document.body);
})();

"use strict";
// Draws the charts with uPlot and moves the sample pictures. All texts of the runs are data here, never markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const several = data.runs.length > 1;
  const HEIGHT = 220, COLOURS = 8, DASHES = [[], [6, 4], [2, 3], [10, 4, 2, 4]];
  const BORDERS = ["solid", "dashed", "dotted", "double"];
  let colours = {}, plots = [], here = null;

  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    const names = ["ink", "quiet", "line", "grid", "failure", "raised", "over"];
    for (let i = 0; i < COLOURS; i++) names.push("c" + i);
    colours = Object.fromEntries(names.map(name => [name, style.getPropertyValue("--" + name).trim()]));
  };
  const lineColour = index => colours["c" + index % COLOURS];
  const compact = value => {
    const size = Math.abs(value);
    for (const [limit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (size >= limit) return +(value / limit).toPrecision(4) + letter;
    if (size && size < 1e-3) return (+value.toPrecision(3)).toExponential();
    return String(+value.toPrecision(4));
  };
  const figure = value => value == null ? "–" :
    Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4));
  const count = value => value.toLocaleString("en").replaceAll(",", "\u202f");

  // Lines of events, with their numbers in the table below, and bars of errors where a score has them.
  const marks = chart => plot => {
    const { ctx, bbox } = plot, ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    data.events.forEach((event, number) => {
      const x = plot.valToPos(event.images, "x", true);
      ctx.strokeStyle = ctx.fillStyle = colours[event.kind];
      ctx.lineWidth = ratio;
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      ctx.textBaseline = "top";
      ctx.fillText(String(number + 1), x + 3 * ratio, bbox.top + 2 * ratio);
    });
    ctx.setLineDash([]);
    chart.lines.forEach(line => {
      if (!line.error) return;
      ctx.strokeStyle = lineColour(line.colour);
      ctx.lineWidth = 1.5 * ratio;
      line.x.forEach((images, i) => {
        if (line.y[i] == null || line.error[i] == null) return;
        const x = plot.valToPos(images, "x", true);
        const ends = [line.y[i] - line.error[i], line.y[i] + line.error[i]].map(y => plot.valToPos(y, "y", true));
        ctx.beginPath();
        ctx.moveTo(x, ends[0]);
        ctx.lineTo(x, ends[1]);
        for (const end of ends) { ctx.moveTo(x - 4 * ratio, end); ctx.lineTo(x + 4 * ratio, end); }
        ctx.stroke();
      });
    });
    ctx.restore();
  };

  const place = plot => {
    if (here == null) return;
    plot.here.style.left = plot.valToPos(here, "x") + "px";
    const { min, max } = plot.scales.x;
    plot.here.hidden = here < min || here > max;
  };

  const draw = box => {
    const chart = data.charts[+box.dataset.chart];
    const tables = [], series = [{ label: "images", value: (_, x) => x == null ? "–" : count(x) }];
    for (const line of chart.lines) {
      tables.push([line.x, line.y]);
      series.push({
        label: line.label, stroke: lineColour(line.colour), width: 1.6, dash: DASHES[line.dash % DASHES.length],
        kind: line.dash % DASHES.length, value: (_, y) => figure(y), points: { show: line.x.length < 20, size: 5 },
      });
      // The ends of error bars make room on the axis.
      if (line.error) for (const sign of [-1, 1]) {
        tables.push([line.x, line.y.map((y, i) => y == null || line.error[i] == null ? null : y + sign * line.error[i])]);
        series.push({ label: "", class: "bound", stroke: "transparent", paths: () => null, points: { show: false } });
      }
    }
    const axis = {
      stroke: colours.quiet, grid: { stroke: colours.grid, width: 1 }, ticks: { stroke: colours.line, width: 1, size: 4 },
      font: "11px system-ui, sans-serif",
    };
    const end = data.end || 1;
    const full = (plot, low, high) => {
      const x = plot.data[0];
      return low == null || (low <= x[0] && high >= x[x.length - 1]) ? [0, end] : [low, high];
    };
    const plot = new uPlot({
      width: Math.max(200, box.clientWidth), height: HEIGHT, series,
      scales: { x: { time: false, range: full }, y: { distr: chart.log ? 3 : 1 } },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map(compact), size: 34, space: 60 },
        { ...axis, values: (_, ticks) => ticks.map(tick => tick == null ? "" : compact(tick)), size: 50 },
      ],
      cursor: { sync: { key: "images", scales: ["x", null] }, drag: { x: true, y: false }, y: false },
      legend: { markers: {
        width: (_, i) => i ? 3 : 0, fill: () => "transparent", stroke: (plot, i) => plot.series[i].stroke(plot, i),
        dash: (plot, i) => BORDERS[plot.series[i].kind || 0],
      } },
      hooks: { draw: [marks(chart), plot => plot.here && place(plot)] },
    }, uPlot.join(tables), box);
    plot.here = document.createElement("div");
    plot.here.className = "here";
    plot.over.appendChild(plot.here);
    return plot;
  };

  const boxes = [...document.querySelectorAll(".plot")];
  const drawAll = () => {
    readColours();
    plots.forEach(plot => plot.destroy());
    plots = boxes.map(draw);
    document.querySelectorAll(".swatch").forEach(one => { one.style.background = lineColour(+one.dataset.run); });
  };
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    // A phone's address bar changes the height only.
    if (innerWidth !== width) plots.forEach((plot, i) => plot.setSize({ width: Math.max(200, boxes[i].clientWidth), height: HEIGHT }));
    width = innerWidth;
  });

  const slider = document.getElementById("slider");
  if (!slider) return;
  const moments = [...new Set(data.albums.flatMap(frames => frames.map(frame => frame.images)))].sort((a, b) => a - b);
  const output = document.getElementById("moment");
  // The newest picture up to this moment; a run's first before that.
  const frameAt = (frames, images) => frames.filter(frame => frame.images <= images).pop() || frames[0];
  const show = () => {
    here = moments[+slider.value];
    output.textContent = count(here) + " images";
    data.albums.forEach((frames, number) => {
      if (!frames.length) return;
      const frame = frameAt(frames, here);
      const image = document.querySelector(`img[data-album="${number}"]`);
      image.width = frame.width;
      image.height = frame.height;
      image.src = frame.source;
      document.querySelector(`[data-caption="${number}"]`).textContent = `step ${count(frame.step)}, ${count(frame.images)} images`;
    });
    plots.forEach(place);
  };
  slider.max = moments.length - 1;
  slider.value = slider.max;
  slider.addEventListener("input", show);
  show();

  const play = document.getElementById("play");
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "▶"; };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (+slider.value === moments.length - 1) slider.value = 0;
    play.textContent = "❚❚";
    timer = setInterval(() => {
      if (+slider.value >= moments.length - 1) return stop();
      slider.value = +slider.value + 1;
      show();
    }, Math.max(60, Math.min(500, 8000 / moments.length)));
    show();
  });
})();

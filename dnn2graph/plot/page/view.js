"use strict";
(async () => {
  const DASHED = 4000; // edges up to which negative ones are dashed; dashes of more cannot be told apart, and are slow
  const MARGIN = 0.04; // around the graph
  const SIZES = [3, 17]; // of nodes, in pixels
  const FAST = 0.1, CLOSER = 1.25; // of a key: part of the picture to move by, and factor to zoom by
  const OUTLIERS = 0.02; // part of the nodes, on either side, whose colour is the last of the scale
  const BARS = 40;
  const FEW = 150; // edges of one links that can be told apart; the others are a haze behind them
  const HAZE = [0.008, 0.35]; // opacity of a haze of many edges, and of few
  const EQUAL = 0.5; // how much an edge stands out that has no other to compare it with
  const NAMES = {
    depth: "strength", sign: "strength", strength: "strength", strength_in: "in-strength",
    strength_out: "out-strength", strength_abs: "absolute strength",
  };
  const SIGNED = new Set(["strength", "strength_in", "strength_out", "sign"]);

  const element = (id) => document.getElementById(id);
  const unpackAll = (columns) => Object.fromEntries(Object.entries(columns).map(([name, each]) => [name, dnn2graph.unpack(each)]));
  const counted = (number) => number.toLocaleString("en-US");
  const shortly = (number) => Number(number.toPrecision(4)).toString().replace("-", "−");

  const graph = dnn2graph.read("graph");
  const nodes = unpackAll(graph.nodes);
  const edges = unpackAll(graph.edges);
  const sizes = Float64Array.from(edges.weight, Math.abs);
  const ordered = Float64Array.from(sizes).sort();

  // Of each edge: how much it stands out, by its size among the edges of its links, and how high it rises.
  const share = new Float32Array(sizes.length);
  const rises = new Float32Array(sizes.length).fill(NaN);
  const linksOf = new Uint32Array(sizes.length);
  for (const [number, links] of graph.links.entries()) {
    const end = links.first + links.count;
    const low = sizes[links.first], high = sizes[end - 1]; // the weakest comes first
    for (let edge = links.first; edge < end; edge++) {
      const rank = end - 1 - edge;
      share[edge] = high > low ? ((sizes[edge] - low) / (high - low)) * Math.max(0, 1 - rank / FEW) : EQUAL / Math.sqrt(links.count);
      linksOf[edge] = number;
      if (links.rises !== null) rises[edge] = links.rises;
    }
  }

  const figures = dnn2graph.read("figures");
  for (const name of ["network", "bars"]) await Bokeh.embed.embed_item(figures[name], name);
  // The browser tells figures their size with its next frame, and they draw everything again: what is drawn is given to
  // them after it. Tabs in the background have no frames, and wait until they are looked at.
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const model = (name) => Bokeh.documents.map((each) => each.get_model_by_name(name)).find((each) => each !== null);
  const plot = model("plot");

  // -------------------------------------------------------------------------------------------------- what is shown

  const boxes = [...document.querySelectorAll("input.layer")];
  let layerShown = boxes.map(() => true);
  const nodeShown = (node) => layerShown[nodes.layer[node]];

  function threshold() {
    const value = Number(element("least").value);
    if (value === 0 || ordered.length === 0) return 0;
    return ordered[Math.min(ordered.length - 1, Math.floor((value / 1000) * ordered.length))];
  }

  function shownEdges() {
    const least = threshold();
    const signs = [element("positive").checked, element("negative").checked];
    const found = [];
    for (let edge = 0; edge < sizes.length; edge++) {
      const shown = sizes[edge] >= least && signs[edges.weight[edge] > 0 ? 0 : 1];
      if (shown && nodeShown(edges.source[edge]) && nodeShown(edges.target[edge])) found.push(edge);
    }
    return found;
  }

  // Control point of a quadratic curve: straight edges have theirs in the middle.
  function control(edge) {
    const across = (nodes.x[edges.source[edge]] + nodes.x[edges.target[edge]]) / 2;
    const middle = (nodes.y[edges.source[edge]] + nodes.y[edges.target[edge]]) / 2;
    return [across, Number.isNaN(rises[edge]) ? middle : 2 * rises[edge] - 0.75 * middle];
  }

  // How opaque the weakest edges of each links are: the fainter, the more of them there are.
  function hazes(chosen) {
    const counts = new Uint32Array(graph.links.length);
    for (const edge of chosen) counts[linksOf[edge]] += 1;
    return Array.from(counts, (count, links) => {
      const haze = Math.min(HAZE[1], Math.max(HAZE[0], (0.3 * FEW) / Math.max(1, count)));
      return graph.links[links].kind === "weight" ? haze : haze / 2; // what is not learned stands back
    });
  }

  function lines(chosen, haze) {
    const columns = Object.fromEntries(
      ["x0", "y0", "cx", "cy", "x1", "y1", "alpha", "width"].map((name) => [name, new Float32Array(chosen.length)]),
    );
    chosen.forEach((edge, place) => {
      const source = edges.source[edge], target = edges.target[edge], strong = share[edge];
      columns.x0[place] = nodes.x[source];
      columns.y0[place] = nodes.y[source];
      columns.x1[place] = nodes.x[target];
      columns.y1[place] = nodes.y[target];
      [columns.cx[place], columns.cy[place]] = control(edge);
      columns.alpha[place] = haze[linksOf[edge]] * (1 - strong) + 0.9 * strong;
      columns.width[place] = 0.6 + 1.6 * strong;
    });
    columns.colour = chosen.map((edge) => (edges.weight[edge] > 0 ? graph.positive : graph.negative));
    columns.dash = chosen.map((edge) => (edges.weight[edge] > 0 || chosen.length > DASHED ? "solid" : "dashed"));
    return columns;
  }

  function drawEdges() {
    const chosen = shownEdges().sort((a, b) => share[a] - share[b]); // the strongest on top
    const haze = hazes(chosen);
    const { cx, cy, ...straight } = lines(chosen.filter((edge) => Number.isNaN(rises[edge])), haze);
    model("straight").data_source.data = straight;
    model("curved").data_source.data = lines(chosen.filter((edge) => !Number.isNaN(rises[edge])), haze);
    element("least-value").textContent = shortly(threshold());
    const all = graph.edges_in_graph === sizes.length ? "" : ` (the graph has ${counted(graph.edges_in_graph)})`;
    element("count").textContent = `${counted(chosen.length)} of ${counted(sizes.length)} edges${all}`;
  }

  // -------------------------------------------------------------------------------------------------- colours

  function mixed(low, high, part) {
    const channel = (colour, place) => parseInt(colour.slice(1 + 2 * place, 3 + 2 * place), 16);
    const values = [0, 1, 2].map((place) => Math.round(channel(low, place) * (1 - part) + channel(high, place) * part));
    return "#" + values.map((value) => value.toString(16).padStart(2, "0")).join("");
  }

  const PALE = "#e8e8e8";
  const diverging = (value) => mixed(PALE, value < 0 ? graph.negative : graph.positive, Math.min(1, Math.abs(value)));
  const sequential = (value) =>
    graph.gradient[Math.round(Math.min(1, Math.max(0, value)) * (graph.gradient.length - 1))];

  function scale(measure) {
    if (measure === "depth") {
      return { colour: (node) => graph.colours[nodes.layer[node]], stops: graph.gradient, low: "first layer", high: "last" };
    }
    if (measure === "sign") {
      const stops = [graph.negative, PALE, graph.positive];
      return { colour: (node) => diverging(Math.sign(nodes.strength[node])), stops, low: "▼ negative", high: "● positive" };
    }
    const values = Float64Array.from(nodes[measure], Math.abs).sort();
    const most = values[Math.floor((1 - OUTLIERS) * (values.length - 1))] || values[values.length - 1] || 1;
    const high = shortly(most);
    if (SIGNED.has(measure)) {
      const stops = [graph.negative, PALE, graph.positive];
      return { colour: (node) => diverging(nodes[measure][node] / most), stops, low: `▼ −${high}`, high: `● ${high}` };
    }
    return { colour: (node) => sequential(nodes[measure][node] / most), stops: graph.gradient, low: "0", high };
  }

  function marker(measure, node) {
    const signed = SIGNED.has(measure) && nodes[measure === "sign" ? "strength" : measure][node] < 0;
    return signed ? "inverted_triangle" : "circle";
  }

  // -------------------------------------------------------------------------------------------------- nodes

  let drawn = []; // which node each mark is

  function pixelsPerStep() {
    const width = (plot.inner_width || 800) / (plot.x_range.end - plot.x_range.start);
    const height = (plot.inner_height || 600) / (plot.y_range.end - plot.y_range.start);
    return graph.step * Math.sqrt(width * height);
  }

  const mostPixels = () => Math.min(SIZES[1], Math.max(SIZES[0], 0.9 * pixelsPerStep()));
  let sizedFor = NaN; // the size of the largest node that was drawn last
  const largest = Math.max(1e-9, nodes.radius.reduce((a, b) => Math.max(a, b), 0));
  const pixels = (node, most) => Math.max(SIZES[0], (most * nodes.radius[node]) / largest);

  function drawNodes() {
    const measure = element("measure").value;
    const { colour, stops, low, high } = scale(measure);
    drawn = [];
    for (let node = 0; node < nodes.id.length; node++) if (nodeShown(node)) drawn.push(node);
    const columns = {};
    for (const [name, values] of Object.entries(nodes)) columns[name] = drawn.map((node) => values[node]);
    sizedFor = mostPixels();
    columns.size = drawn.map((node) => pixels(node, sizedFor));
    columns.colour = drawn.map(colour);
    columns.marker = drawn.map((node) => marker(measure, node));
    const source = model("nodes").data_source;
    source.selected.indices = [];
    source.data = columns;
    source.selected.indices = drawn.flatMap((node, place) => (node === chosenNode ? [place] : []));
    element("ramp").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    element("low").textContent = low;
    element("high").textContent = high;
    drawBars(measure);
  }

  function drawBars(measure) {
    const column = measure in nodes ? measure : "strength";
    const values = drawn.map((node) => nodes[column][node]);
    let low = values.reduce((a, b) => Math.min(a, b), Infinity);
    let high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!(high > low)) [low, high] = values.length ? [low - 0.5, low + 0.5] : [0, 1];
    const step = (high - low) / BARS;
    const counts = new Array(BARS).fill(0);
    for (const value of values) counts[Math.min(BARS - 1, Math.floor((value - low) / step))] += 1;
    model("bars").data_source.data = {
      left: counts.map((_, place) => low + place * step),
      right: counts.map((_, place) => low + (place + 1) * step),
      top: counts,
    };
    model("histogram").x_range.setv({ start: low - step, end: high + step });
    model("histogram").y_range.setv({ start: 0, end: 1.08 * counts.reduce((a, b) => Math.max(a, b), 1) });
    const name = NAMES[measure][0].toUpperCase() + NAMES[measure].slice(1);
    element("bars-title").textContent = `${name} of the ${counted(values.length)} nodes shown`;
  }

  // -------------------------------------------------------------------------------------------------- one node

  let chosenNode = null;

  function choose(node) {
    chosenNode = node;
    const list = element("node");
    list.replaceChildren();
    const touching = [];
    if (node !== null) {
      const layer = graph.layers[nodes.layer[node]];
      const numbers = [
        ["layer", layer.name], ["kind", [layer.kind, layer.activation].filter(Boolean).join(" ")], ["bias", nodes.bias[node]],
        ["strength", nodes.strength[node]], ["in", nodes.strength_in[node]], ["out", nodes.strength_out[node]],
        ["absolute", nodes.strength_abs[node]], ["edges in", nodes.degree_in[node]], ["edges out", nodes.degree_out[node]],
      ];
      for (const [name, value] of numbers) {
        const term = document.createElement("dt"), text = document.createElement("dd");
        term.textContent = name;
        text.textContent = typeof value !== "number" ? value : name.startsWith("edges") ? counted(value) : shortly(value);
        list.append(term, text);
      }
      for (const edge of shownEdges()) if (edges.source[edge] === node || edges.target[edge] === node) touching.push(edge);
    }
    element("node-title").textContent = node === null ? "No node is chosen" : `${nodes.label[node]} (node ${nodes.id[node]})`;
    const columns = lines(touching, hazes([]));
    columns.alpha.fill(1);
    columns.width.fill(2);
    model("chosen").data_source.data = columns;
  }

  function select(node) {
    choose(node);
    model("nodes").data_source.selected.indices = drawn.flatMap((each, place) => (each === node ? [place] : []));
  }

  function find(text) {
    const wanted = text.trim().toLowerCase();
    if (wanted === "") return select(null);
    const labels = nodes.label.map((label) => label.toLowerCase());
    let node = labels.indexOf(wanted);
    if (node < 0 && /^\d+$/.test(wanted)) node = nodes.id.indexOf(Number(wanted));
    if (node < 0) node = labels.findIndex((label) => label.includes(wanted));
    select(node < 0 ? null : node);
    if (node < 0) element("node-title").textContent = `No node that is shown is called “${text}”`;
  }

  // -------------------------------------------------------------------------------------------------- the view

  const bounds = (() => {
    const span = (values, others) => {
      const all = [...values, ...others];
      const low = all.reduce((a, b) => Math.min(a, b), Infinity), high = all.reduce((a, b) => Math.max(a, b), -Infinity);
      const room = Math.max(MARGIN * (high - low), graph.step);
      return all.length ? [low - room, high + room] : [0, 1];
    };
    const curves = graph.links.flatMap((links) => (links.rises === null || links.count === 0 ? [] : [1.15 * links.rises]));
    return [span(nodes.x, []), span(nodes.y, curves)];
  })();

  function show([x, y]) {
    plot.x_range.setv({ start: x[0], end: x[1] });
    plot.y_range.setv({ start: y[0], end: y[1] });
  }

  function view(part) {
    plot.document.interactive_start(plot); // while it moves, only some edges of many are drawn, and in grey
    show(part);
  }

  const current = () => [[plot.x_range.start, plot.x_range.end], [plot.y_range.start, plot.y_range.end]];
  const move = (x, y) => {
    const by = [x, y];
    view(current().map(([low, high], axis) => [low + by[axis] * (high - low), high + by[axis] * (high - low)]));
  };
  const zoom = (factor) =>
    view(current().map(([low, high]) => {
      const middle = (low + high) / 2, half = (high - low) / 2 / factor;
      return [middle - half, middle + half];
    }));

  const keys = {
    ArrowLeft: () => move(-FAST, 0), ArrowRight: () => move(FAST, 0), ArrowUp: () => move(0, FAST),
    ArrowDown: () => move(0, -FAST), "+": () => zoom(CLOSER), "=": () => zoom(CLOSER), "-": () => zoom(1 / CLOSER),
    0: () => view(bounds), Escape: () => select(null),
  };

  // -------------------------------------------------------------------------------------------------- what listens

  const later = (task) => {
    let waiting = 0;
    return () => {
      clearTimeout(waiting);
      waiting = setTimeout(task, 60);
    };
  };
  const redraw = () => {
    layerShown = boxes.map((box) => box.checked);
    boxes.forEach((box) => box.closest("tr").classList.toggle("hidden", !box.checked));
    drawEdges();
    if (chosenNode !== null && !nodeShown(chosenNode)) chosenNode = null;
    drawNodes();
    choose(chosenNode);
  };
  const resize = later(() => {
    if (Math.abs(mostPixels() - sizedFor) > 0.5) drawNodes(); // not when the picture is only moved
  });
  for (const box of boxes) box.addEventListener("change", redraw);
  for (const [id, value] of [["all", true], ["none", false]]) {
    element(id).addEventListener("click", () => {
      boxes.forEach((box) => { box.checked = value; });
      redraw();
    });
  }
  const filter = later(() => { drawEdges(); choose(chosenNode); });
  element("least").addEventListener("input", () => {
    element("least-value").textContent = shortly(threshold());
    filter();
  });
  for (const id of ["positive", "negative"]) element(id).addEventListener("change", filter);
  element("measure").addEventListener("change", drawNodes);
  element("find").addEventListener("change", (event) => find(event.target.value));
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("closer").addEventListener("click", () => zoom(CLOSER));
  element("farther").addEventListener("click", () => zoom(1 / CLOSER));
  element("whole").addEventListener("click", () => view(bounds));
  element("network").addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  });
  let choosing = false;
  model("nodes").data_source.selected.properties.indices.change.connect(() => {
    const [place] = model("nodes").data_source.selected.indices;
    const node = place === undefined ? null : drawn[place];
    if (!choosing && node !== chosenNode && place !== undefined) choose(node);
  });
  for (const range of [plot.x_range, plot.y_range]) {
    range.properties.start.change.connect(resize);
    range.properties.end.change.connect(resize);
  }

  show(bounds);
  redraw();
  document.body.dataset.ready = "yes";
})();

/* The review page. `index.js` calls SPG.index, each file of data/ calls SPG.photo. All text is set as text. */
"use strict";

(() => {
  const AHEAD = "800px"; // photos this near to the window are loaded
  const CHUNK = 60; // tiles that scrolling adds at once
  const GRIP = 10; // pixels around an edge that take hold of it
  const SHORTEST = 4; // pixels of a drag that draws a box
  const CONFIDENCE = ["box_confidence", "presence", "score"]; // the first one known ranks a photo
  const STATUSES = ["accepted", "rejected", "nothing"];
  const WORDS = { accepted: "accepted", rejected: "rejected", nothing: "nothing here" };
  const ICONS = { accepted: "yes", rejected: "no", nothing: "none" };
  const COLUMNS = [
    "name", "file", "image", "error", "width", "height", "class", "score", "box_confidence", "presence", "found", "overlap",
  ];

  const by = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, options = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), options);
    element.append(...children);
    return element;
  };
  const icon = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#${name}`);
    svg.append(use);
    return svg;
  };
  const percent = (value) => `${Math.round(100 * value)} %`;
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  let settings;
  let entries = []; // of all photos
  let listed = []; // those that filter, search and class leave, in order
  const byName = new Map();
  const shared = {}; // threshold, map, regions and area of every photo that has none of its own
  const show = { box: true, mask: true, heat: false, truth: true };
  const filter = { status: "all", text: "", class: "", order: "doubt" };

  // ---------------------------------------------------------------- photos: their data come as scripts, and go again

  const waiting = new Map(); // file -> resolve
  const loading = new Map(); // entry -> promise of its photo

  SPG.photo = (data) => waiting.get(data.file)?.(data);

  const stem = (entry) => encodeURIComponent(entry.file || entry.name);

  /** Load a photo's data; the photo has `maps` by label, each decoded when it is first needed. */
  function load(entry) {
    if (!loading.has(entry)) loading.set(entry, read(entry));
    return loading.get(entry);
  }

  async function read(entry) {
    const script = make("script", { src: `data/${stem(entry)}.js` });
    try {
      const data = await new Promise((resolve, reject) => {
        waiting.set(entry.file || entry.name, resolve);
        script.onload = script.onerror = () => reject(new Error(`data/${stem(entry)}.js is missing or damaged`));
        document.head.append(script);
      });
      const packed = new Map(data.maps.map(([label, width, height, bytes]) => [label, { width, height, data: bytes }]));
      entry.width ||= data.width;
      entry.height ||= data.height;
      if (data.truth.length) document.querySelector("[data-show=truth]").hidden = false;
      entry.photo = { ...data, packed, maps: new Map(), heat: new Map() };
      return entry.photo;
    } catch (error) {
      loading.delete(entry);
      throw error;
    } finally {
      waiting.delete(entry.file || entry.name);
      script.remove();
    }
  }

  /** Return an entry with its photo and the map of a view ready to draw. */
  async function ready(entry, view = viewOf(entry)) {
    const photo = await load(entry);
    const label = labelOf(photo, view);
    if (!photo.maps.has(label)) photo.maps.set(label, await SPG.decode(photo.packed.get(label)));
    entry.photo = photo; // it may have left the window meanwhile
    loading.set(entry, Promise.resolve(photo));
    return entry;
  }

  function drop(entry) {
    if (entry === large.entry || entry.visible) return;
    loading.delete(entry);
    entry.photo = null;
  }

  // ---------------------------------------------------------------- views: what is drawn over a photo

  /** Return threshold, map, regions, area, class and drawn boxes of a photo: its own ones before the shared ones. */
  const viewOf = (entry, record = records.get(entry.name)) => ({ class: entry.class, ...shared, ...record });

  const labelOf = (photo, { map }) => (photo.packed.has(map) ? map : photo.chosen);

  const sizeOf = (entry) => [entry.width, entry.height];

  /** Return the regions of a photo, drawn boxes among them; null while its map is not there. */
  function regionsOf(entry, view = viewOf(entry)) {
    const map = entry.photo?.maps.get(labelOf(entry.photo, view));
    if (!map) return null;
    if (view.drawn) return view.drawn.map((box) => SPG.regionInside(map, view.threshold, box, sizeOf(entry)));
    return SPG.regions(map, view.threshold, view.regions, view.area, sizeOf(entry));
  }

  const bestIou = (entry, regions) => Math.max(...entry.photo.truth.map((box) => SPG.iou(box, regions[0]?.box ?? [0, 0, 0, 0])));

  function heatOf(photo, label) {
    if (!photo.heat.has(label)) {
      const { width, height, levels } = photo.maps.get(label);
      const canvas = make("canvas", { width, height });
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(width, height);
      levels.forEach((level, k) => {
        pixels.data.set(settings.heat.slice(3 * level, 3 * level + 3), 4 * k);
        pixels.data[4 * k + 3] = 64 + 0.55 * level;
      });
      context.putImageData(pixels, 0, 0);
      photo.heat.set(label, canvas);
    }
    return photo.heat.get(label);
  }

  /** Draw what `show` asks for on a canvas that lies over the photo; return the regions. */
  function draw(canvas, entry, selected = -1) {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [wide, high] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!wide || !high) return null;
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    const regions = regionsOf(entry);
    if (!regions) return null;
    const [width, height] = sizeOf(entry);
    const scale = Math.min(wide / width, high / height);
    const line = ratio * (selected >= 0 ? 2.5 : 2);
    context.translate((wide - width * scale) / 2, (high - height * scale) / 2); // as object-fit: contain places the photo
    if (show.heat) {
      context.imageSmoothingQuality = "high";
      context.drawImage(heatOf(entry.photo, labelOf(entry.photo, viewOf(entry))), 0, 0, width * scale, height * scale);
    }
    if (show.mask) drawMasks(context, regions, scale, ratio);
    if (show.truth) for (const box of entry.photo.truth) drawBox(context, box, scale, settings.colours.truth, line);
    if (show.box) {
      regions.forEach(({ box }, k) => drawBox(context, box, scale, settings.colours.box, k && selected < 0 ? line * 0.7 : line));
      if (selected >= 0 && regions[selected]) drawHandles(context, regions[selected].box, scale, ratio);
    }
    return regions;
  }

  const css = (colour, opacity = 1) => `rgb(${colour.join(" ")} / ${opacity})`;

  function drawMasks(context, regions, scale, ratio) {
    const path = new Path2D();
    for (const region of regions) {
      for (const polygon of region.outline()) {
        for (let k = 0; k < polygon.length; k += 2) path[k ? "lineTo" : "moveTo"](polygon[k] * scale, polygon[k + 1] * scale);
        path.closePath();
      }
    }
    context.fillStyle = css(settings.colours.mask, 0.25);
    context.fill(path, "evenodd");
    context.lineJoin = "round";
    context.strokeStyle = "rgb(0 0 0 / .45)";
    context.lineWidth = 2.4 * ratio;
    context.stroke(path);
    context.strokeStyle = css(settings.colours.mask);
    context.lineWidth = 1.1 * ratio;
    context.stroke(path);
  }

  function drawBox(context, [x0, y0, x1, y1], scale, colour, line) {
    const inset = line / 2; // inside, so that a box at the photo's edge is seen
    const place = [x0 * scale + inset, y0 * scale + inset, (x1 - x0) * scale - line, (y1 - y0) * scale - line];
    context.lineJoin = "miter";
    context.strokeStyle = "rgb(0 0 0 / .55)";
    context.lineWidth = line * 1.9;
    context.strokeRect(...place);
    context.strokeStyle = css(colour);
    context.lineWidth = line;
    context.strokeRect(...place);
  }

  function drawHandles(context, [x0, y0, x1, y1], scale, ratio) {
    const side = 9 * ratio;
    for (const x of [x0, x1]) {
      for (const y of [y0, y1]) {
        context.fillStyle = css(settings.colours.box);
        context.fillRect(x * scale - side / 2, y * scale - side / 2, side, side);
        context.strokeStyle = "rgb(0 0 0 / .7)";
        context.lineWidth = ratio;
        context.strokeRect(x * scale - side / 2, y * scale - side / 2, side, side);
      }
    }
  }

  // ---------------------------------------------------------------- records: decisions and changes, kept in the browser

  const records = new Map(); // name -> {status, threshold, map, regions, area, class, drawn, boxes, size}
  const history = []; // of {kind, open, before: [[entry, record], ...]}
  const PREFIX = `spg:${hash(location.pathname)}:`; // pages of file:// share one storage, of some five million characters

  /** Return a short text that differs between texts (FNV-1a). */
  function hash(text) {
    let value = 0x811c9dc5;
    for (let k = 0; k < text.length; k++) value = Math.imul(value ^ text.charCodeAt(k), 0x01000193);
    return (value >>> 0).toString(36);
  }

  const statusOf = (entry) => records.get(entry.name)?.status ?? "undecided";

  /** Return the valid fields of a record that was stored or loaded; null if none is. */
  function checked(record) {
    const isBox = (box) => Array.isArray(box) && box.length === 4 && box.every(Number.isFinite);
    const isBoxes = (boxes) => Array.isArray(boxes) && boxes.every(isBox);
    const isShare = (value) => Number.isFinite(value) && value >= 0 && value < 1;
    const tests = {
      status: (value) => STATUSES.includes(value),
      threshold: isShare,
      map: (value) => typeof value === "string",
      regions: (value) => value === "largest" || value === "all",
      area: isShare,
      class: (value) => Number.isInteger(value) && value >= 0,
      drawn: isBoxes,
      boxes: isBoxes,
      size: (value) => Array.isArray(value) && value.length === 2 && value.every((side) => Number.isInteger(side) && side > 0),
    };
    if (typeof record !== "object" || record === null) return null;
    const fields = Object.entries(tests).filter(([key, test]) => Object.hasOwn(record, key) && test(record[key]));
    const valid = Object.fromEntries(fields.map(([key]) => [key, record[key]]));
    if (valid.status === "accepted" && !(valid.boxes?.length && valid.size && Number.isInteger(valid.class))) delete valid.status;
    return Object.keys(valid).length ? valid : null;
  }

  function restore() {
    try {
      for (const key of Object.keys(localStorage).filter((name) => name.startsWith(PREFIX))) {
        const name = key.slice(PREFIX.length);
        const record = byName.has(name) && checked(JSON.parse(localStorage.getItem(key)));
        if (record) records.set(name, record);
      }
    } catch {
      say("This browser keeps nothing for this page. Save your decisions before you close it.");
    }
  }

  function put(entry, record) {
    if (record && Object.keys(record).length) records.set(entry.name, record);
    else records.delete(entry.name);
    try {
      if (records.has(entry.name)) localStorage.setItem(PREFIX + entry.name, JSON.stringify(record));
      else localStorage.removeItem(PREFIX + entry.name);
    } catch {
      say("The browser's storage is full or closed. Save your decisions now; they are lost with the page.");
    }
    refresh(entry);
  }

  /** Set records as one step of `undo`. Changes of one `kind` in a row, such as the moves of a slider, are one step. */
  function change(changes, kind = "") {
    const last = history.at(-1);
    if (!(kind && last?.open && last.kind === kind)) {
      history.push({ kind, open: Boolean(kind), before: changes.map(([entry]) => [entry, records.get(entry.name)]) });
    }
    for (const [entry, record] of changes) put(entry, record);
    count();
  }

  const seal = () => history.length && (history.at(-1).open = false);

  function undo() {
    const last = history.pop();
    if (!last) return say("Nothing to undo.");
    for (const [entry, record] of last.before) put(entry, record);
    count();
    if (large.entry && last.before.length === 1) open(last.before[0][0]);
    say(last.before.length === 1 ? "Undone." : `Undone for ${plural(last.before.length, "photo")}.`);
  }

  /** Return a record with everything that its boxes depend on, so that no slider changes what was accepted. */
  function frozen(entry, record) {
    const { threshold, map, regions, area, class: label, drawn } = viewOf(entry, record);
    const boxes = regionsOf(entry, { threshold, map, regions, area, drawn }).map((region) => region.box);
    const own = { ...record, threshold, map, regions, area, class: label, boxes, size: sizeOf(entry) };
    if (!boxes.length || label === null) delete own.status;
    return own;
  }

  /** Change fields of a photo's record; undefined removes one. What was accepted stays so, with its new boxes. */
  async function edit(entry, patch, kind = "") {
    const fields = Object.entries({ ...records.get(entry.name), ...patch });
    const record = Object.fromEntries(fields.filter(([, value]) => value !== undefined));
    if (record.status !== "accepted") return change([[entry, record]], kind);
    await ready(entry, viewOf(entry, record));
    change([[entry, frozen(entry, record)]], kind);
  }

  async function decide(entry, status) {
    if (entry.error) return false;
    try {
      await ready(entry);
    } catch (error) {
      say(error.message);
      return false;
    }
    const { boxes: _, ...before } = records.get(entry.name) ?? {};
    const record = { ...before, status, size: sizeOf(entry) };
    const next = status === "accepted" ? frozen(entry, record) : record;
    if (next.status !== status) {
      say("There is no box of a class to accept. Lower the threshold, draw a box, or press n for nothing here.");
      return false;
    }
    change([[entry, next]]);
    return true;
  }

  async function acceptRest() {
    const rest = listed.filter((entry) => statusOf(entry) === "undecided" && !entry.error);
    if (!rest.length) return say("No photo of this list is undecided.");
    if (!confirm(`Accept ${plural(rest.length, "undecided photo")} of this list with the boxes as they are?`)) return;
    const changes = [];
    await eachReady(rest, "Accepting", (entry) => {
      const record = frozen(entry, { ...records.get(entry.name), status: "accepted" });
      if (record.status) changes.push([entry, record]);
    });
    if (changes.length) change(changes);
    say(`${plural(changes.length, "photo")} accepted. Undo takes all of them back.`);
  }

  /** Call `use` with each entry once it is ready, a few at a time, and show the progress. */
  async function eachReady(group, title, use) {
    let done = 0;
    const left = group.values();
    const worker = async () => {
      for (const entry of left) {
        try {
          use(await ready(entry));
        } catch (error) {
          say(error.message);
        }
        drop(entry);
        if (++done % 50 === 0) say(`${title}: ${done} of ${group.length} ...`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  }

  // ---------------------------------------------------------------- COCO

  const round = (value) => Math.round(100 * value) / 100;

  /** Return one annotation. `record` is of an accepted photo; its mask is there while masks are shown. */
  function annotation(entry, record, box, regions) {
    const [x0, y0, x1, y1] = box;
    const own = regions?.find((region) => region.box.every((corner, k) => corner === box[k]));
    const polygons = (own?.outline() ?? [])
      .filter((polygon) => SPG.polygonArea(polygon) > 0) // COCO's polygons have no holes
      .map((polygon) => SPG.simplify(polygon, 0.5).map(round))
      .filter((polygon) => polygon.length >= 6);
    const area = polygons.reduce((sum, polygon) => sum + SPG.polygonArea(polygon), 0);
    return {
      image_id: entry.id,
      category_id: record.class + 1,
      bbox: [x0, y0, x1 - x0, y1 - y0].map(round),
      area: round(polygons.length ? area : (x1 - x0) * (y1 - y0)),
      segmentation: polygons,
      iscrowd: 0,
    };
  }

  async function coco() {
    const decided = entries.filter((entry) => ["accepted", "nothing"].includes(statusOf(entry)));
    const accepted = decided.filter((entry) => statusOf(entry) === "accepted");
    const found = new Map();
    const add = (entry, regions) => {
      const record = records.get(entry.name);
      found.set(entry, record.boxes.map((box) => annotation(entry, record, box, regions)));
    };
    if (show.mask) await eachReady(accepted, "Saving", (entry) => add(entry, regionsOf(entry)));
    for (const entry of accepted) if (!found.has(entry)) add(entry);
    const known = Math.max(settings.class_names.length, ...accepted.map((entry) => records.get(entry.name).class + 1));
    return {
      info: { description: settings.title, date_created: new Date().toISOString() },
      images: decided.map((entry) => {
        const [width, height] = records.get(entry.name).size;
        return { id: entry.id, width, height, file_name: entry.image };
      }),
      categories: Array.from({ length: known }, (_, k) => ({ id: k + 1, name: settings.class_names[k] ?? String(k) })),
      annotations: accepted.flatMap((entry) => found.get(entry)).map((item, k) => ({ id: k + 1, ...item })),
      decisions: [...records], // COCO's readers skip it; `load` goes on from here
    };
  }

  async function save() {
    const file = new Blob([JSON.stringify(await coco())], { type: "application/json" });
    const link = make("a", { href: URL.createObjectURL(file), download: "accepted_coco.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`Saved ${plural(tally().accepted, "accepted photo")}${show.mask ? " with masks" : ""}.`);
  }

  /** Return name and record of each photo of a saved file, or of another tool's COCO file for these images. */
  function recordsOf(content) {
    if (Array.isArray(content.decisions)) return content.decisions;
    const images = new Map(entries.map((entry) => [entry.image, entry]));
    return content.images.filter((image) => images.has(image.file_name)).map((image) => {
      const entry = images.get(image.file_name);
      const own = content.annotations.filter((item) => item.image_id === image.id);
      const boxes = own.map(({ bbox: [x, y, width, height] }) => [x, y, x + width, y + height]);
      const fields = { size: [image.width, image.height], status: boxes.length ? "accepted" : "nothing" };
      if (boxes.length) Object.assign(fields, { ...shared, boxes, drawn: boxes, class: own[0].category_id - 1 });
      return [entry.name, fields];
    });
  }

  async function loadFile(file) {
    try {
      const changes = [];
      for (const [name, record] of recordsOf(JSON.parse(await file.text()))) {
        const valid = byName.has(name) && checked(record);
        if (valid) changes.push([byName.get(name), valid]);
      }
      if (changes.length) change(changes);
      list();
      say(`Loaded decisions of ${plural(changes.length, "photo")}.`);
    } catch {
      say(`${file.name} is no COCO file that this page can read.`);
    }
  }

  // ---------------------------------------------------------------- list: filter, order, counts

  const doubt = (entry) => entry[CONFIDENCE.find((key) => entry[key] !== null)] ?? -1;
  const titleOf = (index) => settings.class_titles[index] ?? String(index);
  const compareNames = new Intl.Collator(undefined, { numeric: true }).compare;
  const ORDERS = {
    doubt: ["Most doubtful first", (a, b) => doubt(a) - doubt(b)],
    sure: ["Surest first", (a, b) => doubt(b) - doubt(a)],
    overlap: ["Least overlap first", (a, b) => (a.overlap ?? 2) - (b.overlap ?? 2)],
    score: ["Lowest class score first", (a, b) => (a.score ?? -1) - (b.score ?? -1)],
    class: ["Class", (a, b) => (a.class ?? -1) - (b.class ?? -1)],
    name: ["Name", (a, b) => compareNames(a.name, b.name)],
  };

  function list() {
    const text = filter.text.toLowerCase();
    const [, compare] = ORDERS[filter.order];
    listed = entries.filter(
      (entry) =>
        (filter.status === "all" || statusOf(entry) === filter.status) &&
        (filter.class === "" || viewOf(entry).class === Number(filter.class)) &&
        (!text || entry.name.toLowerCase().includes(text) || entry.image.toLowerCase().includes(text)),
    );
    listed.sort((a, b) => Boolean(a.error) - Boolean(b.error) || compare(a, b) || a.id - b.id);
    for (const entry of entries) if (entry.tile) remove(entry);
    by("grid").replaceChildren();
    by("empty").hidden = listed.length > 0;
    grow();
    count();
  }

  function tally() {
    const counts = { all: entries.length, undecided: entries.length, accepted: 0, rejected: 0, nothing: 0 };
    for (const { status } of records.values()) {
      if (!status) continue;
      counts[status]++;
      counts.undecided--;
    }
    return counts;
  }

  function count() {
    const counts = tally();
    for (const button of all("[data-filter]")) {
      button.querySelector("b").textContent = counts[button.dataset.filter].toLocaleString();
      button.setAttribute("aria-pressed", button.dataset.filter === filter.status);
    }
    document.querySelector(".progress i").style.inlineSize = `${100 - (100 * counts.undecided) / Math.max(counts.all, 1)}%`;
    by("undo-last").disabled = by("undo-here").disabled = !history.length;
    by("accept-rest").disabled = !counts.undecided;
    by("save").disabled = !(counts.accepted + counts.nothing);
  }

  // ---------------------------------------------------------------- grid

  const sight = new IntersectionObserver(
    (changes) => {
      for (const { target, isIntersecting } of changes) (isIntersecting ? enter : leave)(target.entry);
    },
    { rootMargin: AHEAD },
  );
  const end = new IntersectionObserver((changes) => changes.some((one) => one.isIntersecting) && grow(), { rootMargin: AHEAD });

  function grow() {
    const grid = by("grid");
    const from = grid.childElementCount;
    for (const entry of listed.slice(from, from + CHUNK)) grid.append(tile(entry));
    const shown = grid.childElementCount;
    if (!from && shown) grid.firstChild.firstChild.tabIndex = 0;
    by("more").textContent = shown < listed.length ? `${shown} of ${plural(listed.length, "photo")}, scroll for more` : "";
    end.disconnect(); // a new observation reports at once whether the end is still in sight
    if (shown < listed.length) end.observe(by("more"));
  }

  function tile(entry) {
    const picture = make("button", { className: "picture", tabIndex: -1, type: "button" });
    const name = make("span", { className: "name", textContent: entry.name, title: entry.image });
    const facts = make("span", { className: "facts" });
    const decisions = STATUSES.map((status) => {
      const button = make("button", { type: "button", tabIndex: -1, title: WORDS[status] }, icon(ICONS[status]));
      button.dataset.status = status;
      button.setAttribute("aria-label", `${entry.name}: ${WORDS[status]}`);
      button.disabled = Boolean(entry.error);
      return button;
    });
    const caption = make("div", { className: "caption" }, make("div", { className: "title" }, make("span"), make("span")), facts, name);
    const element = make("li", { entry }, picture, caption, make("div", { className: "choices" }, ...decisions));
    Object.assign(entry, { tile: element });
    if (entry.error) picture.append(make("span", { className: "error", textContent: entry.error }));
    refresh(entry);
    sight.observe(element);
    return element;
  }

  function remove(entry) {
    sight.unobserve(entry.tile);
    leave(entry);
    entry.tile = null;
  }

  async function enter(entry) {
    entry.visible = true;
    if (entry.error || entry.tile.canvas) return;
    const image = make("img", { alt: "", decoding: "async", src: `photos/${stem(entry)}.jpg` });
    entry.tile.canvas = make("canvas");
    entry.tile.firstChild.replaceChildren(image, entry.tile.canvas);
    try {
      await load(entry);
      refresh(entry);
    } catch (error) {
      entry.tile?.firstChild.append(make("span", { className: "error", textContent: error.message }));
    }
  }

  function leave(entry) {
    entry.visible = false;
    if (entry.tile.canvas) entry.tile.firstChild.replaceChildren();
    entry.tile.canvas = null;
    drop(entry);
  }

  const stale = new Set();
  let frame = 0;

  /** Redraw a photo, or all that are loaded, in the next frame. */
  function refresh(...group) {
    for (const entry of group.length ? group : listed.filter((one) => one.tile?.canvas)) stale.add(entry);
    if (large.entry && !group.length) stale.add(large.entry);
    frame ||= requestAnimationFrame(() => {
      const start = performance.now();
      frame = 0;
      for (const entry of stale) {
        stale.delete(entry);
        redraw(entry);
      }
      SPG.redrawMilliseconds = performance.now() - start;
    });
  }

  function redraw(entry) {
    if (entry.photo && !entry.photo.maps.has(labelOf(entry.photo, viewOf(entry)))) {
      ready(entry).then(() => refresh(entry), (error) => say(error.message));
      return;
    }
    const status = statusOf(entry);
    if (entry.tile) {
      const regions = entry.photo && entry.tile.canvas ? draw(entry.tile.canvas, entry) : null;
      if (entry.tile.dataset.status !== status) {
        entry.tile.dataset.status = status;
        for (const button of all("[data-status]", entry.tile)) button.setAttribute("aria-pressed", button.dataset.status === status);
      }
      const facts = factsOf(entry, regions);
      entry.tile.querySelector(".facts").textContent = facts;
      all(".title span", entry.tile).forEach((span, k) => (span.textContent = classOf(entry)[k]));
      const spoken = [entry.name, ...classOf(entry), facts, WORDS[status] ?? "undecided"].filter(Boolean);
      entry.tile.firstChild.setAttribute("aria-label", spoken.join(", "));
    }
    if (entry === large.entry) drawLarge();
  }

  /** Return a photo's class and its score; "" for a class that was not predicted first. */
  function classOf(entry) {
    if (entry.error) return ["cannot be read", ""];
    const label = viewOf(entry).class;
    if (label === null) return ["no object", ""];
    return [titleOf(label), label === entry.class ? percent(entry.score) : ""];
  }

  /** Return what is known of a photo's class and box, in short words. */
  function factsOf(entry, regions) {
    const facts = [];
    if (entry.box_confidence !== null) facts.push(`box ${percent(entry.box_confidence)}`);
    if (!entry.found && entry.class !== null) facts.push("seems empty");
    if (regions && entry.photo.truth.length) facts.push(`IoU ${bestIou(entry, regions).toFixed(2)}`);
    return facts.join(" · ");
  }

  function focusTile(entry) {
    const picture = entry?.tile?.firstChild;
    if (!picture) return;
    for (const other of all(".picture[tabindex='0']")) other.tabIndex = -1;
    picture.tabIndex = 0;
    picture.focus();
  }

  // ---------------------------------------------------------------- one photo, large

  const large = { entry: null, selected: 0, drag: null };
  const stage = document.querySelector(".frame canvas");

  async function open(entry) {
    const before = large.entry;
    Object.assign(large, { entry, selected: 0, drag: null });
    if (before && before !== entry) drop(before);
    const image = document.querySelector(".frame img");
    image.src = entry.error ? "data:," : `photos/${stem(entry)}.jpg`;
    if (!by("large").open) by("large").showModal();
    stage.getContext("2d").clearRect(0, 0, stage.width, stage.height);
    stage.focus({ preventScroll: true });
    const place = listed.indexOf(entry);
    by("place").textContent = `${place + 1} of ${listed.length.toLocaleString()}`;
    by("before").disabled = place <= 0;
    by("after").disabled = place >= listed.length - 1;
    try {
      if (!entry.error) await ready(entry);
      fillOwn(entry);
      refresh(entry);
    } catch (error) {
      say(error.message);
    }
  }

  function fillOwn(entry) {
    if (entry !== large.entry) return;
    const likely = (entry.photo?.classes ?? []).map(([index, score]) => [index, `${titleOf(index)}, ${percent(score)}`]);
    const known = settings.class_titles.map((title, index) => [index, title]);
    options(by("own-class"), [["Predicted", likely], ["All classes", known]]);
    options(by("own-map"), [["", [...(entry.photo?.packed.keys() ?? [])].map((label) => [label, label])]]);
  }

  function drawLarge() {
    const { entry } = large;
    const regions = entry.photo ? draw(stage, entry, large.selected) : null;
    const view = viewOf(entry);
    const status = statusOf(entry);
    by("name").textContent = entry.name;
    by("facts").textContent = [...classOf(entry), factsOf(entry, regions), entry.width ? `${entry.width} × ${entry.height}` : "", entry.error].filter(Boolean).join(" · ");
    for (const button of all("[data-decide]")) button.setAttribute("aria-pressed", button.dataset.decide === status);
    for (const button of all("[data-own-regions]")) button.setAttribute("aria-pressed", button.dataset.ownRegions === view.regions && !view.drawn);
    setSlider("own-threshold", view.threshold, view.threshold.toFixed(3));
    by("own-class").value = view.class;
    if (entry.photo) by("own-map").value = labelOf(entry.photo, viewOf(entry));
    by("reset").disabled = !["threshold", "map", "regions", "class", "drawn"].some((key) => records.get(entry.name)?.[key] !== undefined);
    const box = regions?.[large.selected]?.box;
    by("corners").disabled = !box;
    all("input", by("corners")).forEach((input, k) => {
      if (document.activeElement !== input) input.value = box ? round(box[k]) : "";
    });
  }

  function step(places) {
    const next = listed[listed.indexOf(large.entry) + places];
    if (next) open(next);
    const after = listed[listed.indexOf(large.entry) + Math.sign(places)];
    if (after && !after.error) load(after).then(() => setTimeout(drop, 20_000, after), () => {});
  }

  function closed() {
    const { entry } = large;
    large.entry = null;
    document.querySelector(".frame img").removeAttribute("src");
    while (entry && !entry.tile && by("grid").childElementCount < listed.length && listed.includes(entry)) grow();
    focusTile(entry);
    if (entry) drop(entry);
  }

  /** Return where a pointer is: in pixels of the image, and the size of such a pixel on the screen. */
  function pointed(event) {
    const [width, height] = sizeOf(large.entry);
    const area = stage.getBoundingClientRect();
    const scale = Math.min(area.width / width, area.height / height);
    const x = (event.clientX - area.left - (area.width - width * scale) / 2) / scale;
    const y = (event.clientY - area.top - (area.height - height * scale) / 2) / scale;
    return { x: Math.min(Math.max(x, 0), width), y: Math.min(Math.max(y, 0), height), scale };
  }

  const currentBoxes = () => (regionsOf(large.entry) ?? []).map((region) => [...region.box]);

  /** Return the edges (0 left, 1 top, 2 right, 3 bottom) of a box that a point takes hold of. */
  function edgesAt([x0, y0, x1, y1], { x, y, scale }) {
    const near = GRIP / scale;
    if (x < x0 - near || x > x1 + near || y < y0 - near || y > y1 + near) return [];
    const across = Math.abs(x - x0) < Math.abs(x - x1) ? [0, x0] : [2, x1];
    const down = Math.abs(y - y0) < Math.abs(y - y1) ? [1, y0] : [3, y1];
    return [Math.abs(x - across[1]) <= near ? across[0] : -1, Math.abs(y - down[1]) <= near ? down[0] : -1].filter((edge) => edge >= 0);
  }

  function gripped(point) {
    const boxes = currentBoxes();
    const order = [large.selected, ...boxes.keys()];
    const index = order.find((k) => boxes[k] && edgesAt(boxes[k], point).length);
    return index === undefined ? null : { boxes, index, edges: edgesAt(boxes[index], point) };
  }

  function startDrag(event) {
    if (event.button || !large.entry?.photo || !regionsOf(large.entry)) return;
    const point = pointed(event);
    const grip = show.box && !event.shiftKey ? gripped(point) : null;
    stage.setPointerCapture(event.pointerId);
    seal();
    if (grip) {
      large.selected = grip.index;
      large.drag = { ...grip, point };
    } else {
      const kept = event.shiftKey || viewOf(large.entry).regions === "all" ? currentBoxes() : [];
      large.drag = { boxes: [...kept, null], index: kept.length, point, isNew: true };
    }
    refresh(large.entry);
  }

  function moveDrag(event) {
    if (!large.entry?.photo) return;
    const point = pointed(event);
    const { drag } = large;
    if (!drag) return pointOut(point);
    if (!drag.moved && Math.hypot(point.x - drag.point.x, point.y - drag.point.y) * point.scale < SHORTEST) return;
    drag.moved = true;
    const boxes = drag.boxes.map((box) => box && [...box]);
    if (drag.isNew) boxes[drag.index] = sorted([drag.point.x, drag.point.y, point.x, point.y]);
    else {
      for (const edge of drag.edges) boxes[drag.index][edge] = edge % 2 ? point.y : point.x;
      boxes[drag.index] = sorted(boxes[drag.index]);
    }
    large.selected = drag.index;
    edit(large.entry, { drawn: boxes.map((box) => box.map(round)) }, `drag:${large.entry.name}`);
  }

  const sorted = ([x0, y0, x1, y1]) => [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];

  function pointOut(point) {
    const edges = (show.box && gripped(point)?.edges) || [];
    const key = edges.join("");
    stage.style.cursor = { 0: "ew-resize", 2: "ew-resize", 1: "ns-resize", 3: "ns-resize", "01": "nwse-resize", 23: "nwse-resize", "03": "nesw-resize", 21: "nesw-resize" }[key] ?? "crosshair";
  }

  function endDrag(event) {
    if (!large.drag) return;
    if (!large.drag.moved && large.drag.isNew) select(pointed(event));
    large.drag = null;
    seal();
  }

  /** Select the smallest box around a point. */
  function select({ x, y }) {
    const around = currentBoxes()
      .map((box, k) => [k, box])
      .filter(([, [x0, y0, x1, y1]]) => x >= x0 && x <= x1 && y >= y0 && y <= y1)
      .sort(([, a], [, b]) => (a[2] - a[0]) * (a[3] - a[1]) - (b[2] - b[0]) * (b[3] - b[1]));
    if (around.length) large.selected = around[0][0];
    refresh(large.entry);
  }

  function typeCorner() {
    const boxes = currentBoxes();
    const corners = all("input", by("corners")).map((input) => input.valueAsNumber);
    const [width, height] = sizeOf(large.entry);
    if (!boxes[large.selected] || !corners.every(Number.isFinite)) return;
    boxes[large.selected] = sorted(corners.map((value, k) => Math.min(Math.max(value, 0), k % 2 ? height : width)));
    edit(large.entry, { drawn: boxes });
  }

  function removeBox() {
    const boxes = currentBoxes();
    if (!boxes[large.selected]) return;
    boxes.splice(large.selected, 1);
    large.selected = 0;
    edit(large.entry, { drawn: boxes });
  }

  // ---------------------------------------------------------------- controls

  let messageTimer = 0;

  function say(text) {
    const host = by("help").open ? by("help") : by("large").open ? by("large") : document.body;
    if (by("message").parentNode !== host) host.append(by("message")); // a modal dialog hides what lies outside
    by("message").textContent = text;
    clearTimeout(messageTimer);
    messageTimer = setTimeout(() => (by("message").textContent = ""), 5000);
  }

  function options(select, groups) {
    const group = ([label, items]) => {
      const choices = items.map(([value, text]) => make("option", { value, textContent: text }));
      return label ? [make("optgroup", { label }, ...choices)] : choices;
    };
    select.replaceChildren(...groups.filter(([, items]) => items.length).flatMap(group));
  }

  function setSlider(id, value, text) {
    if (document.activeElement !== by(id) || Math.abs(by(id).valueAsNumber - value) > 1e-3) by(id).value = value;
    by(`${id}-value`).textContent = text;
  }

  function showShared() {
    setSlider("threshold", shared.threshold, shared.threshold.toFixed(3));
    setSlider("area", shared.area, `${(100 * shared.area).toFixed(1)} %`);
    by("area").disabled = shared.regions !== "all";
    by("map").value = shared.map;
    by("reset-all").disabled = Object.entries(predicted()).every(([key, value]) => shared[key] === value);
    for (const button of all("[data-regions]")) button.setAttribute("aria-pressed", button.dataset.regions === shared.regions);
    for (const button of all("[data-show]")) button.setAttribute("aria-pressed", show[button.dataset.show]);
  }

  const predicted = () => ({ threshold: settings.threshold, map: settings.score_map, regions: settings.regions, area: settings.min_area });

  function setShared(patch) {
    Object.assign(shared, patch);
    showShared();
    refresh();
  }

  /** Return a slider's threshold; the predicted one where the slider, which has steps, comes to it. */
  function thresholdOf(input) {
    const value = input.valueAsNumber;
    return Math.abs(value - settings.threshold) < 6e-4 ? settings.threshold : value;
  }

  function toggle(name) {
    show[name] = !show[name];
    showShared();
    refresh();
  }

  function switchRegions() {
    const other = (value) => (value === "all" ? "largest" : "all");
    if (large.entry) edit(large.entry, { regions: other(viewOf(large.entry).regions), drawn: undefined });
    else setShared({ regions: other(shared.regions) });
  }

  function nudge(steps) {
    const moved = (value) => Math.min(Math.max(Math.round(1000 * value + 10 * steps) / 1000, 0), 0.99);
    if (large.entry) edit(large.entry, { threshold: moved(viewOf(large.entry).threshold) });
    else setShared({ threshold: moved(shared.threshold) });
  }

  let deciding = false;

  /** Decide for the large photo or the focused tile, and go on to the next one. */
  async function decideHere(status) {
    const entry = large.entry ?? document.activeElement.closest("#grid li")?.entry;
    if (!entry || deciding) return; // a key that is held must not decide on photos that nobody has seen
    deciding = true;
    const isDone = await decide(entry, status);
    deciding = false;
    if (!isDone) return;
    const next = listed[listed.indexOf(entry) + 1];
    if (large.entry === entry) {
      if (next) step(1);
      else say("That was the last photo of this list.");
    } else focusTile(next);
  }

  const KEYS = {
    a: () => decideHere("accepted"),
    r: () => decideHere("rejected"),
    n: () => decideHere("nothing"),
    u: undo,
    l: switchRegions,
    b: () => toggle("box"),
    m: () => toggle("mask"),
    h: () => toggle("heat"),
    t: () => toggle("truth"),
    "-": () => nudge(-1),
    "+": () => nudge(1),
    "=": () => nudge(1),
    "?": () => by("help").showModal(),
    "/": () => !large.entry && by("search").focus(),
    Delete: () => large.entry && removeBox(),
    Backspace: () => large.entry && removeBox(),
  };

  function pressed(event) {
    const { target, key } = event;
    const isTyping = target.matches("select, textarea, input:not([type=range])");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || by("help").open) return;
    if (key.startsWith("Arrow")) {
      if (target.type === "range") return;
      if (large.entry) step(key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1);
      else if (target.closest("#grid")) stepFocus(target.closest("li").entry, key);
      else return;
    } else if (Object.hasOwn(KEYS, key)) KEYS[key]();
    else return;
    event.preventDefault();
  }

  function stepFocus(entry, key) {
    const columns = getComputedStyle(by("grid")).gridTemplateColumns.split(" ").length;
    const places = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    focusTile(listed[listed.indexOf(entry) + places]);
  }

  function listen() {
    const on = (id, type, act) => by(id).addEventListener(type, act);
    for (const button of all("[data-filter]")) button.onclick = () => (Object.assign(filter, { status: button.dataset.filter }), list());
    for (const button of all("[data-show]")) button.onclick = () => toggle(button.dataset.show);
    for (const button of all("[data-regions]")) button.onclick = () => setShared({ regions: button.dataset.regions });
    for (const button of all("[data-own-regions]")) button.onclick = () => edit(large.entry, { regions: button.dataset.ownRegions, drawn: undefined });
    for (const button of all("[data-decide]")) button.onclick = () => decideHere(button.dataset.decide);
    on("search", "input", () => (Object.assign(filter, { text: by("search").value.trim() }), list()));
    on("class", "change", () => (Object.assign(filter, { class: by("class").value }), list()));
    on("order", "change", () => (Object.assign(filter, { order: by("order").value }), list()));
    on("map", "change", () => setShared({ map: by("map").value }));
    on("threshold", "input", () => setShared({ threshold: thresholdOf(by("threshold")) }));
    on("area", "input", () => setShared({ area: by("area").valueAsNumber }));
    on("own-threshold", "input", () => edit(large.entry, { threshold: thresholdOf(by("own-threshold")) }, `threshold:${large.entry.name}`));
    on("own-threshold", "change", seal);
    on("own-map", "change", () => edit(large.entry, { map: by("own-map").value }));
    on("own-class", "change", () => edit(large.entry, { class: Number(by("own-class").value) }));
    on("reset", "click", () => edit(large.entry, { threshold: undefined, map: undefined, regions: undefined, area: undefined, class: undefined, drawn: undefined }));
    on("corners", "change", typeCorner);
    on("reset-all", "click", () => setShared(predicted()));
    on("undo-last", "click", undo);
    on("undo-here", "click", undo);
    on("accept-rest", "click", acceptRest);
    on("save", "click", save);
    on("load", "click", () => by("file").click());
    on("file", "change", () => loadFile(by("file").files[0]).then(() => (by("file").value = "")));
    on("keys", "click", () => by("help").showModal());
    on("close", "click", () => by("large").close());
    on("large", "close", closed);
    on("before", "click", () => step(-1));
    on("after", "click", () => step(1));
    on("grid", "click", ({ target }) => {
      const element = target.closest("li");
      const status = target.closest("[data-status]:not(li)")?.dataset.status;
      if (element && status) decide(element.entry, status);
      else if (element && target.closest(".picture")) open(element.entry);
    });
    stage.addEventListener("pointerdown", startDrag);
    stage.addEventListener("pointermove", moveDrag);
    stage.addEventListener("pointerup", endDrag);
    stage.addEventListener("pointercancel", endDrag);
    document.addEventListener("keydown", pressed);
    addEventListener("resize", () => refresh());
  }

  SPG.index = (given, rows) => {
    settings = given;
    entries = rows.map((row, k) => Object.fromEntries([...COLUMNS.map((column, i) => [column, row[i]]), ["id", k + 1]]));
    for (const entry of entries) byName.set(entry.name, entry);
    Object.assign(shared, predicted());
    const hasOverlap = entries.some((entry) => entry.overlap !== null);
    options(by("order"), [["", Object.entries(ORDERS).filter(([key]) => hasOverlap || key !== "overlap").map(([key, [title]]) => [key, title])]]);
    options(by("map"), [["", given.score_maps.map((label) => [label, label])]]);
    const present = [...new Set(entries.map((entry) => entry.class))].filter((index) => index !== null).sort((a, b) => a - b);
    options(by("class"), [["", [["", "All classes"], ...present.map((index) => [index, titleOf(index)])]]]);
    document.documentElement.style.setProperty("--box", css(given.colours.box));
    document.documentElement.style.setProperty("--mask", css(given.colours.mask));
    document.documentElement.style.setProperty("--truth", css(given.colours.truth));
    if (matchMedia("(max-width: 700px)").matches) document.querySelector(".controls").open = false;
    listen();
    restore();
    showShared();
    list();
  };
})();

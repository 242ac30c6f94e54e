/* Score maps in the browser: the benchmark's regions and boxes, and the outlines of masks. Nothing here touches the page. */
"use strict";

window.SPG = (() => {
  // E SE S SW W NW N NE: clockwise, as y points down
  const STEP_X = [1, 1, 0, -1, -1, -1, 0, 1];
  const STEP_Y = [0, 1, 1, 1, 0, -1, -1, -1];
  const UNVISITED = -1;
  let stack = new Int32Array(1 << 16);

  /** Return a map {width, height, levels, max} of its packed bytes: deflated differences along both axes. */
  async function decode({ width, height, data }) {
    const packed = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const levels = new Uint8Array(await new Response(stream).arrayBuffer());
    if (levels.length !== width * height) throw new Error("the score map is not complete");
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0, row = 0; x < width; x++, i++) {
        row += levels[i];
        levels[i] = row + (y ? levels[i - width] : 0); // modulo 256, as Python wrote them
      }
    }
    return { width, height, levels, max: levels.reduce((most, level) => Math.max(most, level), 0) };
  }

  /** Return the labels of the pixels above a level, padded by one pixel: `UNVISITED`, or 0 for the others. */
  function above({ width, height, levels }, level) {
    const stride = width + 2;
    const labels = new Int32Array(stride * (height + 2));
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0, k = (y + 1) * stride + 1; x < width; x++, i++, k++) if (levels[i] > level) labels[k] = UNVISITED;
    }
    return labels;
  }

  /** Give the 8-connected component of a pixel its number; return its size and corners, inclusive, in padded pixels. */
  function fill(labels, stride, start, number) {
    const part = { number, start, count: 0, x0: stride, y0: Infinity, x1: 0, y1: 0 };
    if (stack.length < labels.length) stack = new Int32Array(labels.length);
    let top = 0;
    stack[top++] = start;
    labels[start] = number;
    while (top) {
      const pixel = stack[--top];
      const y = (pixel / stride) | 0;
      const x = pixel - y * stride;
      part.count++;
      if (x < part.x0) part.x0 = x;
      if (x > part.x1) part.x1 = x;
      if (y < part.y0) part.y0 = y;
      if (y > part.y1) part.y1 = y;
      for (let row = pixel - stride; row <= pixel + stride; row += stride) {
        for (let near = row - 1; near <= row + 1; near++) {
          if (labels[near] === UNVISITED) {
            labels[near] = number;
            stack[top++] = near;
          }
        }
      }
    }
    return part;
  }

  /** Return twice the area of the polygon through the centres of a component's outer pixels, as cv2.contourArea has it. */
  function doubleArea(labels, stride, { start, number }) {
    const step = STEP_X.map((dx, d) => dx + STEP_Y[d] * stride);
    const next = (pixel, from) => {
      for (let k = 0; k < 8; k++) if (labels[pixel + step[(from + k) & 7]] === number) return (from + k) & 7;
      return -1;
    };
    const first = next(start, 4); // nothing of the component lies before its first pixel in reading order
    if (first < 0) return 0;
    let area = 0;
    let x = 0;
    let y = 0;
    let pixel = start;
    let direction = first;
    do {
      area += x * STEP_Y[direction] - y * STEP_X[direction];
      x += STEP_X[direction];
      y += STEP_Y[direction];
      pixel += step[direction];
      direction = next(pixel, (direction + 6) & 7);
    } while (pixel !== start || direction !== first);
    return Math.abs(area);
  }

  /** Return a component's box in the pixels of an image, as `threshold_scan.box_in_photo` does. */
  function boxInPhoto(part, map, size) {
    // the benchmark clips a far corner to the last pixel, which then stands for the edge
    const far = (last, side) => (last + 1 >= side - 1 ? side : last + 1);
    const across = size[0] / map.width;
    const down = size[1] / map.height;
    const [x0, y0, x1, y1] = [part.x0 - 1, part.y0 - 1, part.x1 - 1, part.y1 - 1];
    return [x0 * across, y0 * down, far(x1, map.width) * across, far(y1, map.height) * down];
  }

  /**
   * Return the regions of a map above a threshold, the largest first: `localization.regions.find_regions`.
   *
   * Each has its `box` in the pixels of an image of `size`, and `outline()`, its mask's polygons there.
   */
  function regions(map, threshold, which, minArea, size) {
    const level = Math.floor(threshold * map.max);
    const stride = map.width + 2;
    const labels = above(map, level);
    const parts = [];
    for (let pixel = stride; pixel < labels.length; pixel++) {
      if (labels[pixel] === UNVISITED) parts.push(fill(labels, stride, pixel, parts.length + 1));
    }
    for (const part of parts) {
      const bound = 2 * (part.x1 - part.x0) * (part.y1 - part.y0);
      part.area = bound ? doubleArea(labels, stride, part) : 0;
    }
    parts.sort((a, b) => b.area - a.area || b.start - a.start); // of equal areas the last in reading order
    const least = minArea * map.width * map.height;
    const kept = which === "all" ? parts.filter((part, k) => !k || part.count >= least) : parts.slice(0, 1);
    return kept.map((part) => ({
      box: boxInPhoto(part, map, size),
      outline: () => outline(map, level, labels, part, size),
    }));
  }

  /** Return a drawn box in the form of a region: its mask is all that lies above the threshold inside. */
  function regionInside(map, threshold, box, size) {
    const level = Math.floor(threshold * map.max);
    const [across, down] = [size[0] / map.width, size[1] / map.height];
    const inside = (x, y) =>
      (x - 0.5) * across > box[0] && (x - 0.5) * across < box[2] && (y - 0.5) * down > box[1] && (y - 0.5) * down < box[3];
    const whole = { number: 1, x0: 1, y0: 1, x1: map.width, y1: map.height };
    const draw = () => {
      const stride = map.width + 2;
      const labels = above(map, level);
      for (let k = 0; k < labels.length; k++) if (labels[k] && inside(k % stride, (k / stride) | 0)) labels[k] = 1;
      const clamp = (value, axis) => Math.min(Math.max(value, box[axis]), box[axis + 2]);
      return outline(map, level, labels, whole, size).map((polygon) => polygon.map((value, k) => clamp(value, k % 2)));
    };
    return { box, outline: draw };
  }

  /**
   * Return the polygons [x, y, x, y, ...] around a component of a map that is interpolated bilinearly.
   *
   * They run clockwise around the mask and the other way round its holes. Other components are taken away first, as
   * `localization.regions.mask_at_image_size` does.
   */
  function outline(map, level, labels, part, size) {
    const stride = map.width + 2;
    const iso = level + 1;
    const [left, top] = [part.x0 - 1, part.y0 - 1];
    const [columns, rows] = [part.x1 - left + 2, part.y1 - top + 2];
    const values = new Float32Array(columns * rows);
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const label = labels[(y + top) * stride + x + left];
        if (label && label !== part.number) continue;
        const [column, row] = [x + left - 1, y + top - 1];
        if (column < 0 || row < 0 || column >= map.width || row >= map.height) continue;
        const stored = map.levels[row * map.width + column];
        values[y * columns + x] = stored && stored + 0.5; // the middle of the values that were quantized to it
      }
    }
    const loops = crossings(values, columns, rows, iso);
    const toX = (x) => Math.min(Math.max((x - 0.5) * (size[0] / map.width), 0), size[0]);
    const toY = (y) => Math.min(Math.max((y - 0.5) * (size[1] / map.height), 0), size[1]);
    return loops.map((loop) => {
      const moved = toEdges(loop.map(([x, y]) => [x + left, y + top]), map.width, map.height);
      return moved.flatMap(([x, y]) => [toX(x), toY(y)]);
    });
  }

  /** Move what lies beyond the map's outer pixels to the image's edge, with a corner where a loop turns from edge to edge. */
  function toEdges(loop, width, height) {
    const points = loop.map(([x, y]) => {
      const [beside, beyond] = [x < 1 || x > width, y < 1 || y > height];
      return { x: beside ? (x < 1 ? 0.5 : width + 0.5) : x, y: beyond ? (y < 1 ? 0.5 : height + 0.5) : y, beside, beyond };
    });
    return points.flatMap((point, k) => {
      const after = points[(k + 1) % points.length];
      const own = [point.x, point.y];
      if (point.beside && after.beyond) return [own, [point.x, after.y]];
      if (point.beyond && after.beside) return [own, [after.x, point.y]];
      return [own];
    });
  }

  // of each case of a cell (corners inside: 8 top left, 4 top right, 2 bottom right, 1 bottom left) the segments from edge
  // to edge, 0 top, 1 right, 2 bottom, 3 left, with the inside on the right-hand side
  const SEGMENTS = [
    [], [3, 2], [2, 1], [3, 1], [1, 0], [1, 0, 3, 2], [2, 0], [3, 0], [0, 3], [0, 2], [0, 3, 2, 1], [0, 1], [1, 3], [1, 2], [2, 3], [],
  ];
  const JOINED = { 5: [3, 0, 1, 2], 10: [0, 1, 2, 3] }; // where the middle of a cell with two opposite corners is inside

  /** Return the closed loops of points where a grid of values crosses `iso` (marching squares). */
  function crossings(values, columns, rows, iso) {
    const next = new Int32Array(2 * columns * rows).fill(-1); // of each crossed edge: that to the right of 2k, below 2k + 1
    const starts = [];
    for (let y = 0; y + 1 < rows; y++) {
      for (let x = 0; x + 1 < columns; x++) {
        const k = y * columns + x;
        const [a, b, c, d] = [values[k], values[k + 1], values[k + columns + 1], values[k + columns]];
        const code = 8 * (a >= iso) + 4 * (b >= iso) + 2 * (c >= iso) + (d >= iso);
        if (code === 0 || code === 15) continue;
        const segments = JOINED[code] && (a + b + c + d) / 4 >= iso ? JOINED[code] : SEGMENTS[code];
        const edges = [2 * k, 2 * (k + 1) + 1, 2 * (k + columns), 2 * k + 1];
        for (let s = 0; s < segments.length; s += 2) {
          next[edges[segments[s]]] = edges[segments[s + 1]];
          starts.push(edges[segments[s]]);
        }
      }
    }
    const loops = [];
    for (const start of starts) {
      const loop = [];
      for (let edge = start; next[edge] >= 0; ) {
        const k = edge >> 1;
        const other = edge & 1 ? k + columns : k + 1;
        const share = (iso - values[k]) / (values[other] - values[k]);
        const [x, y] = [k % columns, (k / columns) | 0];
        loop.push(edge & 1 ? [x, y + share] : [x + share, y]);
        const after = next[edge];
        next[edge] = -1;
        edge = after;
      }
      if (loop.length > 2) loops.push(loop);
    }
    return loops;
  }

  /** Return the signed area of a polygon [x, y, x, y, ...], positive where it runs clockwise. */
  function polygonArea(polygon) {
    let area = 0;
    for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) {
      area += polygon[j] * polygon[i + 1] - polygon[i] * polygon[j + 1];
    }
    return area / 2;
  }

  /** Return a polygon with fewer points, none of which moves further than `tolerance` (Douglas and Peucker). */
  function simplify(polygon, tolerance) {
    const count = polygon.length / 2;
    const x = (k) => polygon[2 * (k % count)];
    const y = (k) => polygon[2 * (k % count) + 1];
    let far = 0;
    for (let k = 1; k < count; k++) if (Math.hypot(x(k) - x(0), y(k) - y(0)) > Math.hypot(x(far) - x(0), y(far) - y(0))) far = k;
    const kept = [0, far];
    const spans = [[0, far], [far, count]];
    while (spans.length) {
      const [from, to] = spans.pop();
      const [dx, dy] = [x(to) - x(from), y(to) - y(from)];
      const length = Math.hypot(dx, dy) || 1;
      let [worst, most] = [-1, tolerance];
      for (let k = from + 1; k < to; k++) {
        const distance = Math.abs(dx * (y(k) - y(from)) - dy * (x(k) - x(from))) / length;
        if (distance > most) [worst, most] = [k, distance];
      }
      if (worst < 0) continue;
      kept.push(worst);
      spans.push([from, worst], [worst, to]);
    }
    return [...new Set(kept)].sort((a, b) => a - b).flatMap((k) => [x(k), y(k)]);
  }

  /** Return the intersection over union of two boxes x0 y0 x1 y1. */
  function iou(a, b) {
    const side = (k) => Math.max(Math.min(a[k + 2], b[k + 2]) - Math.max(a[k], b[k]), 0);
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
    const both = side(0) * side(1);
    return both / (area(a) + area(b) - both || 1);
  }

  return { decode, regions, regionInside, polygonArea, simplify, iou };
})();

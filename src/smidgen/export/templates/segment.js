// The signs of a photo, from left to right: what stands out from the paper where it is, in connected
// parts, and of these the ones that belong together.

const WINDOW = 8; // as many of them are as long as the longer side of a photo
const SHARE = 0.5; // of a part's width that lies over another's: they are one sign
const TALL = 0.4; // of the tallest sign; what is lower is a piece of its neighbour
const PALE = 0.4; // of the strongest ink; a part that is nowhere so strong is dirt
const DIRT = 0.12; // of the tallest part; what is smaller and lies apart is dirt
const LARGE = 640; // pixels of a side
const SAMPLE = 20_000; // pixels that tell the noise
export const MOST = 20; // signs

/** The inks {data, width, height, left, top} of the signs in a grey picture, from left to right; none
 * where nothing stands out. A large picture is halved before, and so are its signs' places. */
export function signsOf(grey) {
  const isLarge = Math.max(grey.width, grey.height) > LARGE && Math.min(grey.width, grey.height) > 1;
  const ink = standingOut(isLarge ? halved(grey) : grey);
  return ink ? partsOf(ink) : [];
}

/** A picture of the means of four pixels each. */
function halved({ data, width, height }) {
  const small = { width: width >> 1, height: height >> 1 };
  small.data = new Float64Array(small.width * small.height);
  for (let i = 0; i < small.data.length; i++) {
    const at = 2 * Math.floor(i / small.width) * width + 2 * (i % small.width);
    small.data[i] = (data[at] + data[at + 1] + data[at + width] + data[at + width + 1]) / 4;
  }
  return small;
}

/** The ink of a photo under uneven light: how far each pixel is from the paper around it, as a share of
 * that paper's level where the ink is dark; null where nothing stands out. */
export function standingOut({ data, width, height }) {
  const reach = Math.ceil(Math.max(width, height) / WINDOW / 2);
  const isPaper = new Uint8Array(data.length).fill(1);
  let ground = localMean(data, isPaper, width, height, reach);
  let skew = 0;
  for (let i = 0; i < data.length; i++) skew += (data[i] - ground[i]) ** 3;
  const sign = skew > 0 ? 1 : -1;
  const contrast = () => Float64Array.from(data, (level, i) => {
    const most = sign < 0 ? ground[i] : 255 - ground[i];
    return (255 * sign * (level - ground[i])) / Math.max(most, 32);
  });
  let ink = contrast();
  for (let round = 0; round < 2; round++) {
    const { noise, strongest } = spread(ink);
    const floor = Math.max(3 * noise, strongest / 8);
    ink.forEach((value, i) => (isPaper[i] = value < floor ? 1 : 0));
    ground = localMean(data, isPaper, width, height, reach);
    ink = contrast();
  }
  const { noise, strongest } = spread(ink);
  if (strongest < 32) return null;
  const floor = Math.min(Math.max(8 * noise, strongest / 8), strongest / 2);
  return { data: ink.map((value) => (value > floor ? value : 0)), width, height };
}

/** The mean of the pixels of `isPaper` in a window around each pixel; of all of them where it has none. */
function localMean(data, isPaper, width, height, reach) {
  const stride = width + 1;
  const [sums, counts] = [0, 1].map(() => new Float64Array(stride * (height + 1)));
  for (let y = 0, i = 0; y < height; y++) {
    let [sum, count] = [0, 0];
    for (let x = 0; x < width; x++, i++) {
      sum += data[i] * isPaper[i];
      count += isPaper[i];
      const at = (y + 1) * stride + x + 1;
      sums[at] = sums[at - stride] + sum;
      counts[at] = counts[at - stride] + count;
    }
  }
  const all = sums.at(-1) / Math.max(counts.at(-1), 1);
  const means = new Float64Array(data.length);
  for (let y = 0, i = 0; y < height; y++) {
    const high = Math.min(reach, y, height - 1 - y); // as far on both sides, so that a slope has no effect
    const [top, bottom] = [(y - high) * stride, (y + high + 1) * stride];
    for (let x = 0; x < width; x++, i++) {
      const wide = Math.min(reach, x, width - 1 - x);
      const [left, right] = [x - wide, x + wide + 1];
      const within = (table) => table[bottom + right] - table[top + right] - table[bottom + left] + table[top + left];
      const count = within(counts);
      means[i] = count ? within(sums) / count : all;
    }
  }
  return means;
}

/** How far most pixels are from the paper, and the strongest ones. */
function spread(ink) {
  const step = Math.ceil(ink.length / SAMPLE);
  const some = Float64Array.from({ length: Math.ceil(ink.length / step) }, (_, i) => Math.abs(ink[i * step])).sort();
  return { noise: some[some.length >> 1], strongest: ink.reduce((a, b) => Math.max(a, b)) };
}

/** Ink in its signs, from left to right. */
export function partsOf(ink) {
  const { labels, boxes } = connected(ink);
  const strongest = ink.data.reduce((a, b) => Math.max(a, b), 0);
  const dark = boxes.filter(({ high }) => high >= PALE * strongest);
  const tallest = dark.reduce((most, { top, bottom }) => Math.max(most, bottom - top), 0);
  const groups = [];
  const sizeOf = (box) => Math.max(box.bottom - box.top, box.right - box.left);
  const kept = dark.filter((box) => sizeOf(box) >= DIRT * tallest).sort((a, b) => a.left - b.left);
  for (const box of kept) {
    const group = { ...box, parts: [box.part] };
    const found = groups.filter((other) => overlap(other, group) >= SHARE * Math.min(widthOf(other), widthOf(group)));
    for (const other of found) {
      join(group, other);
      groups.splice(groups.indexOf(other), 1);
    }
    groups.push(group);
  }
  for (const low of groups.filter(({ top, bottom }) => bottom - top < TALL * tallest)) {
    const others = groups.filter((group) => group !== low);
    if (!others.length) break;
    const near = others.reduce((best, group) => (overlap(group, low) > overlap(best, low) ? group : best));
    join(near, low);
    groups.splice(groups.indexOf(low), 1);
  }
  return groups.sort((a, b) => a.left - b.left).map((group) => cut(ink, labels, group));
}

const widthOf = ({ left, right }) => right - left;

/** By how much two boxes overlap from left to right; negative for a gap. */
function overlap(one, other) {
  return Math.min(one.right, other.right) - Math.max(one.left, other.left);
}

function join(group, other) {
  group.left = Math.min(group.left, other.left);
  group.top = Math.min(group.top, other.top);
  group.right = Math.max(group.right, other.right);
  group.bottom = Math.max(group.bottom, other.bottom);
  group.parts.push(...other.parts);
}

/** The connected part that each pixel of ink is in, from 1, and the boxes of the parts. */
function connected({ data, width, height }) {
  const labels = new Int32Array(data.length);
  const boxes = [];
  const stack = [];
  for (let start = 0; start < data.length; start++) {
    if (!(data[start] > 0) || labels[start]) continue;
    const part = boxes.length + 1;
    const box = { part, left: width, top: height, right: 0, bottom: 0, high: 0 };
    labels[start] = part;
    stack.push(start);
    while (stack.length) {
      const at = stack.pop();
      const [x, y] = [at % width, Math.floor(at / width)];
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y + 1);
      box.high = Math.max(box.high, data[at]);
      for (let ny = Math.max(0, y - 1); ny < Math.min(height, y + 2); ny++) {
        for (let nx = Math.max(0, x - 1); nx < Math.min(width, x + 2); nx++) {
          const next = ny * width + nx;
          if (!(data[next] > 0) || labels[next]) continue;
          labels[next] = part;
          stack.push(next);
        }
      }
    }
    boxes.push(box);
  }
  return { labels, boxes };
}

/** The ink of a group's parts alone. */
function cut(ink, labels, { left, top, right, bottom, parts }) {
  const [width, height] = [right - left, bottom - top];
  const data = new Float64Array(width * height);
  const own = new Set(parts);
  for (let i = 0; i < data.length; i++) {
    const at = (top + Math.floor(i / width)) * ink.width + left + (i % width);
    if (own.has(labels[at])) data[i] = ink.data[at];
  }
  return { data, width, height, left, top };
}

// Numbers of a layer as colours: zero is the paper's colour, what is above and below it has its own.

/** The colours {plus, minus} of an element's custom properties, as [red, green, blue]. */
export function coloursOf(element) {
  const style = getComputedStyle(element);
  const [plus, minus] = ["--accent", "--minus"].map((name) => {
    const hex = style.getPropertyValue(name).trim();
    return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  });
  return { plus, minus };
}

/** The largest distance of a tensor's numbers from zero. */
export function reach({ data }, zero) {
  return data.reduce((most, value) => Math.max(most, Math.abs(value - zero)), 0);
}

/** Draws the channels `from` up to `to` of a tensor on a canvas, as a square of maps a pixel apart;
 * the colour of a number is as strong as it is large, `most` at full strength. */
export function drawMaps(canvas, { shape: [height, width, channels], data }, zero, most, { plus, minus }, [from, to]) {
  const columns = columnsOf(to - from);
  canvas.width = columns * (width + 1) - 1;
  canvas.height = columns * (height + 1) - 1;
  if (!most) return;
  const pixels = new ImageData(canvas.width, canvas.height);
  for (let channel = from; channel < to; channel++) {
    const [row, column] = [Math.floor((channel - from) / columns), (channel - from) % columns];
    for (let i = 0; i < width * height; i++) {
      const value = data[i * channels + channel] - zero;
      const [y, x] = [row * (height + 1) + Math.floor(i / width), column * (width + 1) + (i % width)];
      const at = 4 * (y * canvas.width + x);
      const colour = value > 0 ? plus : minus;
      for (let c = 0; c < 3; c++) pixels.data[at + c] = colour[c];
      pixels.data[at + 3] = (255 * Math.abs(value)) / most;
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** How many maps lie side by side in a square of them. */
export function columnsOf(maps) {
  return Math.ceil(Math.sqrt(maps));
}

/** The position of a channel's number that is furthest from zero. */
export function strongest({ shape: [height, width, channels], data }, zero, channel) {
  let best = 0;
  for (let i = 1; i < height * width; i++) {
    const distance = (at) => Math.abs(data[at * channels + channel] - zero);
    if (distance(i) > distance(best)) best = i;
  }
  return [Math.floor(best / width), best % width];
}

/** The tensor with one channel at zero. */
export function withoutChannel(tensor, zero, channel) {
  const channels = tensor.shape[2];
  return { ...tensor, data: tensor.data.map((value, i) => (i % channels === channel ? zero : value)) };
}

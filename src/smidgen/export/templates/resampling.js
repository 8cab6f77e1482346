// The weights of a resampling along one side, in whole numbers, as smidgen/preprocess/resampling.py.

/** For each output its [input, weight]: areas going down, interpolation going up. */
export function weights(inputs, outputs) {
  const rows = [];
  for (let o = 0; o < outputs; o++) {
    const row = [];
    for (let i = 0; i < inputs; i++) {
      const weight = outputs <= inputs
        ? Math.min((i + 1) * outputs, (o + 1) * inputs) - Math.max(i * outputs, o * inputs)
        : 2 * outputs - Math.abs((2 * o + 1) * inputs - outputs - 2 * outputs * i);
      if (weight > 0) row.push([i, weight]);
    }
    rows.push(row);
  }
  return rows;
}

/* Weight i of a channel. Those of less than eight bits are packed, the first in the lowest. */
FUNCTION int32_t weight(const int8_t *packed, int i, int bits)
{
    const int32_t above = packed[i * bits / 8] >> i * bits % 8;
    const int32_t sign = 1 << (bits - 1);
    return ((above & (2 * sign - 1)) ^ sign) - sign;
}

/* The sum of products under the kernel, whose left end is at byte `left` of the rows. */
FUNCTION int32_t sum_under(
    const struct layer *layer, const uint8_t *const *rows, int left, const int8_t *weights)
{
    const struct tensor *input = &tensors[layer->input];
    const int bytes = input->width * input->channels;
    int32_t acc = 0;
    int tap = 0;
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        int from = left;
        for (int kx = 0; kx < layer->kernel_width; kx++, from += input->channels) {
            const int inside = rows[ky] && from >= 0 && from < bytes;
            for (int i = 0; i < layer->depth; i++, tap++) {
                const int32_t x = inside ? rows[ky][from + i] : layer->outside;
                acc += x * (layer->bits == 8 ? weights[tap] : weight(weights, tap, layer->bits));
            }
        }
    }
    return acc;
}

/* One row of a convolution; of a pooled one, its part in a row of largest values. */
FUNCTION void conv(const struct layer *layer, const struct progress *at)
{
    const struct tensor *input = &tensors[layer->input];
    const int channels = tensors[layer->output].channels;
    const int taps = layer->kernel_height * layer->kernel_width * layer->depth;
    const int top = (at->row * layer->steps + at->step) * layer->stride_y - layer->padding_y;
    const uint8_t *rows[$kernel_height]; /* under the kernel; 0 where there is none */
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        const int y = top + ky;
        rows[ky] = y >= 0 && y < input->height ? input_row(layer->input, y) : 0;
    }
    uint8_t *out = row_of(layer->output, at->row);
#if FAST
    if (layer->depth == input->channels && layer->bits == 8) {
        conv_row(layer, rows, out, at->step == 0);
        return;
    }
#endif
    int left = -layer->padding_x * input->channels;
    for (int x = 0; x < tensors[layer->output].width; x++, out += channels) {
        for (int part = 0; part < layer->pool_x; part++, left += layer->stride_x * input->channels) {
            const int8_t *from = weights + layer->weight;
            int first = 0; /* input channel of the group */
            for (int o = 0; o < channels; first += layer->depth) {
                for (const int end = o + layer->per_group; o < end; o++) {
                    const int32_t acc = sum_under(layer, rows, left + first, from);
                    const int32_t value = rescale(layer, acc, o);
                    from += (taps * layer->bits + 7) / 8;
                    if (layer->output == LOGITS) {
                        logits_out[o] = value;
                    } else if (at->step + part == 0 || clamp(value) > out[o]) {
                        out[o] = clamp(value);
                    }
                }
            }
        }
    }
}

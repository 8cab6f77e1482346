static uint8_t window[$window];

/* What lies under the kernel from column x on, with `outside` where the input has ended. */
FUNCTION const uint8_t *gather(const struct layer *layer, const uint8_t *const *rows, int x, int first)
{
    const struct tensor *input = &tensors[layer->input];
    uint8_t *to = window;
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        for (int column = x; column < x + layer->kernel_width; column++) {
            const int inside = rows[ky] && column >= 0 && column < input->width;
            const int from = column * input->channels + first;
            for (int i = 0; i < layer->depth; i++) {
                *to++ = inside ? rows[ky][from + i] : layer->outside;
            }
        }
    }
    return window;
}

/* Weights of less than eight bits are packed, the first in the lowest bits. */
FUNCTION int32_t dot(const uint8_t *x, const int8_t *weights, int length, int bits)
{
    int32_t acc = 0;
    if (bits == 8) {
        for (int i = 0; i < length; i++) {
            acc += x[i] * weights[i];
        }
        return acc;
    }
    for (int i = 0; i < length; weights++) {
        int packed = *weights;
        for (int used = 0; used < 8 && i < length; used += bits, packed >>= bits) {
            const int sign = 1 << (bits - 1);
            acc += x[i++] * (((packed & (2 * sign - 1)) ^ sign) - sign);
        }
    }
    return acc;
}

/* One row of a convolution; of a pooled one, its part in a row of largest values. */
FUNCTION void conv(const struct layer *layer, int row, int step)
{
    const struct tensor *input = &tensors[layer->input];
    const int channels = tensors[layer->output].channels;
    const int taps = layer->kernel_height * layer->kernel_width * layer->depth;
    const int stored = (taps * layer->bits + 7) / 8;
    const int top = (row * layer->steps + step) * layer->stride_y - layer->padding_y;
    const uint8_t *rows[$kernel_height]; /* under the kernel; 0 where there is none */
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        const int y = top + ky;
        rows[ky] = y >= 0 && y < input->height ? input_row(layer->input, y) : 0;
    }
    uint8_t *out = row_of(layer->output, row);
#if FAST
    if (layer->groups == 1 && layer->bits == 8) {
        conv_row(layer, rows, out, step == 0);
        return;
    }
#endif
    int left = -layer->padding_x;
    for (int x = 0; x < tensors[layer->output].width; x++, out += channels) {
        for (int part = 0; part < layer->pool_x; part++, left += layer->stride_x) {
            for (int group = 0; group < layer->groups; group++) {
                const uint8_t *under = layer->direct
                    ? rows[0] + left * input->channels
                    : gather(layer, rows, left, group * layer->depth);
                for (int o = group * layer->per_group; o < (group + 1) * layer->per_group; o++) {
                    const int8_t *weights = layer->weights + o * stored;
                    const int32_t value = rescale(layer, dot(under, weights, taps, layer->bits), o);
                    if (layer->output == LOGITS) {
                        logits_out[o] = value;
                    } else if (step + part == 0 || clamp(value) > out[o]) {
                        out[o] = clamp(value);
                    }
                }
            }
        }
    }
}

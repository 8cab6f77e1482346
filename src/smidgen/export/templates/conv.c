/* A sum of products. Outside the input x does not move: it is the same number, again and again. */
INNER_LOOP int32_t dot(const uint8_t *x, int move, const int8_t *factors, int count)
{
    int32_t acc = 0;
    for (; count > 0; count--, x += move) {
        acc += *x * *factors++;
    }
    return acc;
}

/* Weights of less than eight bits are packed, the first in the lowest bits. */
FUNCTION int32_t unpack(const int8_t *packed, int tap, int bits)
{
    const int32_t sign = 1 << (bits - 1);
    const int32_t above = packed[tap * bits / 8] >> tap * bits % 8;
    return ((above & (2 * sign - 1)) ^ sign) - sign;
}

INNER_LOOP int32_t packed_dot(
    const uint8_t *x, int move, const int8_t *packed, int tap, int count, int bits)
{
    int32_t acc = 0;
    for (const int end = tap + count; tap < end; tap++, x += move) {
        acc += *x * unpack(packed, tap, bits);
    }
    return acc;
}

FUNCTION int32_t conv(const struct layer *layer, const struct view *view, int channel)
{
    const struct tensor *input = &tensors[layer->input];
    const int taps = layer->kernel_height * layer->kernel_width * layer->depth;
    const int8_t *from = weights + layer->weight + channel * ((taps * layer->bits + 7) / 8);
    const uint8_t outside = layer->outside;
    int left = view->left;
    for (int i = channel; i >= layer->per_group; i -= layer->per_group) {
        left += layer->depth;
    }
    int32_t acc = 0;
    int tap = 0;
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        const uint8_t *row = view->rows[ky];
        for (int kx = 0; kx < layer->kernel_width; kx++, tap += layer->depth) {
            const int at = left + kx * input->channels;
            const int inside = row && at >= 0 && at < input->width * input->channels;
            const uint8_t *x = inside ? row + at : &outside;
            acc += layer->bits == 8
                ? dot(x, inside, from + tap, layer->depth)
                : packed_dot(x, inside, from, tap, layer->depth, layer->bits);
        }
    }
    return acc * multipliers[layer->multiplier + channel];
}

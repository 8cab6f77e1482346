/* Weight i of a channel. Those of less than eight bits are packed, the first in the lowest. */
FUNCTION int32_t weight(const int8_t *packed, int i, int bits)
{
    const int32_t above = packed[i * bits / 8] >> i * bits % 8;
    const int32_t sign = 1 << (bits - 1);
    return ((above & (2 * sign - 1)) ^ sign) - sign;
}

FUNCTION int32_t conv(const struct layer *layer, const struct view *view, int channel)
{
    const struct tensor *input = &tensors[layer->input];
    const int taps = layer->kernel_height * layer->kernel_width * layer->depth;
    const int8_t *from = weights + layer->weight + channel * ((taps * layer->bits + 7) / 8);
    const int bytes = input->width * input->channels;
    int left = view->left;
    for (int i = channel; i >= layer->per_group; i -= layer->per_group) {
        left += layer->depth;
    }
    int32_t acc = 0;
    int tap = 0;
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        const uint8_t *row = view->rows[ky];
        for (int kx = 0; kx < layer->kernel_width; kx++) {
            const int at = left + kx * input->channels;
            const int inside = row && at >= 0 && at < bytes;
            for (int i = 0; i < layer->depth; i++, tap++) {
                const int32_t x = inside ? row[at + i] : layer->outside;
                acc += x * (layer->bits == 8 ? from[tap] : weight(from, tap, layer->bits));
            }
        }
    }
    return acc * multipliers[layer->multiplier + channel];
}

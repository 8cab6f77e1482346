/* A sum of products. Outside of the input `move` is 0: every x is the same number. */
INNER_LOOP int32_t dot(const uint8_t *x, int move, const int8_t *factors, int count)
{
    int32_t acc = 0;
    int at = 0;
    int i = -count;
    factors += count;
    do { /* counting up to zero takes the fewest instructions */
        acc += x[at] * factors[i];
        at += move;
    } while (++i < 0);
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
    for (int i = 0; i < count; i++) {
        acc += x[i * move] * unpack(packed, tap + i, bits);
    }
    return acc;
}

/* A row of the kernel is summed at once where it lies within the row of the input and takes all of
 * its channels or one; else it is summed tap by tap. Only convolutions use this. */
FUNCTION void place_kernel(const struct layer *layer, struct view *view)
{
    const int channels = tensors[layer->input].channels;
    view->width = tensors[layer->input].width * channels;
    view->right = view->left + layer->kernel_width * channels;
    view->move = layer->depth == 1 ? channels : 1;
    view->count = layer->depth;
    view->piece = channels;
    if (view->left >= 0 && view->right <= view->width &&
        (layer->depth == 1 || layer->depth == channels)) {
        view->count *= layer->kernel_width;
        view->piece *= layer->kernel_width;
    }
}

INNER_LOOP int32_t conv(const struct layer *layer, const struct view *view, int channel)
{
    const int taps = layer->kernel_height * layer->kernel_width * layer->depth;
    const int8_t *from = weights + layer->weight + channel * ((taps * layer->bits + 7) / 8);
    const uint8_t outside = layer->outside;
    int left = view->left;
    if (layer->per_group == 1) {
        left += channel * layer->depth;
    } else {
        for (int i = channel; i >= layer->per_group; i -= layer->per_group) {
            left += layer->depth;
        }
    }
    int32_t acc = 0;
    int tap = 0;
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        const uint8_t *row = view->rows[ky];
        int at = left;
        do {
            const uint8_t *x = &outside;
            int move = 0;
            if (row && at >= 0 && at < view->width) {
                x = row + at;
                move = view->move;
            }
            if (layer->bits == 8) {
                acc += dot(x, move, from, view->count);
                from += view->count;
            } else {
                acc += packed_dot(x, move, from, tap, view->count, layer->bits);
                tap += view->count;
            }
            at += view->piece;
        } while (at < view->right);
    }
    return acc * multipliers[layer->multiplier + channel];
}

/* @row: what `advance` does before the pixels of a row */
#if FAST
    if (layer->operation == CONV) {
        view.is_first = step == 0;
        conv_row(layer, &view, out);
        columns = 0;
    }
#endif

/* @pixel: what `advance` does before the channels of a pixel */
            place_kernel(layer, &view);

/* @channel: what `advance` does for a channel of a pixel */
                    product = conv(layer, &view, channel);

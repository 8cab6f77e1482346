static const uint8_t *image_rows; /* tensor 0 */
static int32_t *logits_out;       /* the last tensor */
static uint8_t memory[$memory];

static struct progress {
    uint8_t row, step;
} progress[$layers];

/* What a layer sees of its input: the rows under its kernel, 0 where there is none, and where in
 * them the kernel begins, in bytes; the row of a second input; whether this is the first that it
 * sees for its output. A convolution sums `count` products at once, of inputs `move` bytes apart;
 * the next ones begin `piece` bytes on, up to `right`. `width` are the bytes of a row. */
struct view {
    const uint8_t *rows[$kernel_height];
    const uint8_t *other;
    int left, is_first;
    int right, width, move, count, piece;
};

FUNCTION uint8_t *row_of(int number, int y)
{
    const struct tensor *tensor = &tensors[number];
    while (y >= tensor->rows) { /* the rows form a ring */
        y -= tensor->rows;
    }
    return memory + tensor->offset + y * tensor->width * tensor->channels;
}

FUNCTION const uint8_t *input_row(int number, int y)
{
    return number == 0 ? image_rows + y * tensors[0].width * tensors[0].channels
                       : row_of(number, y);
}

FUNCTION int32_t rescale(const struct layer *layer, int32_t product, int channel)
{
    const int32_t bias = biases[layer->bias + channel * layer->bias_stride];
    return (product + bias * (1 << layer->bias_shift)) >> layer->shift;
}

FUNCTION uint8_t clamp(int32_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

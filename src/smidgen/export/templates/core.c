static const uint8_t *image_rows; /* tensor 0 */
static int32_t *logits_out;       /* the last tensor */
static uint8_t memory[$memory];

static struct progress {
    uint8_t row, step;
} progress[$layers];

/* The part of its input that a layer reads: `rows` are the rows under the kernel, 0 outside of the
 * input; `left` is the byte in them where the kernel begins; `other` is a row of a second input;
 * `is_first` is whether it is the first part for its output. A convolution sums `count` products at
 * a time, of inputs `move` bytes apart; the next ones begin `piece` bytes further, up to `right`.
 * `width` is the size of a row in bytes. */
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

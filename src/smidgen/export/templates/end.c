/* One step of a layer: a row of its output, or a part of one. A pool, alone or after a convolution,
 * needs several steps for a row and several parts for a pixel, and keeps the largest value. */
FUNCTION void advance(int number)
{
    const struct layer *layer = &layers[number];
    const struct tensor *input = &tensors[layer->input];
    struct progress *at = &progress[number];
    const int row = at->row;
    const int step = at->step;
    const int top = row * layer->row_stride + step * layer->step_stride - layer->padding_y;
    struct view view;
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        const int y = top + ky;
        view.rows[ky] = y >= 0 && y < input->height ? input_row(layer->input, y) : 0;
    }
    uint8_t *out = row_of(layer->output, row) + layer->channel;
    int columns = tensors[layer->output].width;
    int channels = $channels;
$row    for (int x = 0; x < columns; x++, out += $stride) {
        for (int part = 0; part < layer->parts; part++) {
            const int column = x * layer->column_stride + part * layer->part_stride;
            view.left = (column - layer->padding_x) * input->channels;
            view.is_first = step + part == 0;
$pixel            for (int channel = 0; channel < channels; channel++) {
                int32_t product = 0;
                $branches
                const int32_t value = rescale(layer, product, channel);
                if (layer->output == LOGITS) {
                    logits_out[channel] = value;
                } else {
                    const uint8_t before = view.is_first ? 0 : out[channel];
                    out[channel] = clamp(value) > before ? clamp(value) : before;
                }
            }
        }
    }
    at->step++;
    if (at->step == layer->steps) {
        at->step = 0;
        at->row++;
    }
}

int smidgen_predict(const uint8_t image[$pixels], int32_t logits[$classes])
{
    image_rows = image;
    logits_out = logits;
    for (int i = 0; i < $layers; i++) {
        progress[i].row = 0;
        progress[i].step = 0;
    }
    for (unsigned i = 0; i < sizeof schedule / sizeof *schedule; i++) {
        for (int number = schedule[i].first; number <= schedule[i].last; number++) {
#if FAST
            switch (number) {
$cases            }
#else
            advance(number);
#endif
        }
    }
    int best = 0;
    for (int i = 1; i < $classes; i++) {
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}

/* @branch: for an operation; `if` makes smaller code than `switch` */
if (layer->operation == $operation) {
$channel                }

/* @case: for a layer */
            case $number:
                advance($number);
                break;

/* @channels: that a layer computes for a pixel */
tensors[layer->output].channels

/* @stride: from one pixel of the output to the next */
channels

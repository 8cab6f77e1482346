static $sum_type sums[$sums];

/* The average of everything, one row of the input at a time. */
FUNCTION void global_average(const struct layer *layer, int step)
{
    const int channels = tensors[layer->output].channels;
    const uint8_t *in = input_row(layer->input, step);
    for (int channel = 0; step == 0 && channel < channels; channel++) {
        sums[channel] = 0;
    }
    for (int x = 0; x < tensors[layer->input].width; x++) {
        for (int channel = 0; channel < channels; channel++) {
            sums[channel] = ($sum_type)(sums[channel] + *in++);
        }
    }
    if (step + 1 == layer->steps) {
        uint8_t *out = row_of(layer->output, 0);
        for (int channel = 0; channel < channels; channel++) {
            const int32_t value = rescale(layer, (int32_t)sums[channel], 0);
            if (layer->output == LOGITS) {
                logits_out[channel] = value;
            } else {
                out[channel] = clamp(value);
            }
        }
    }
}

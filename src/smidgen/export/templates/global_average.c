static $sum_type sums[$sums];

/* The average of everything, one row of the input at a time. */
FUNCTION void global_average(const struct layer *layer, const struct progress *at)
{
    const int channels = tensors[layer->output].channels;
    const uint8_t *in = input_row(layer->input, at->step);
    uint8_t *out = row_of(layer->output, 0);
    for (int channel = 0; channel < channels; channel++) {
        int32_t sum = at->step == 0 ? 0 : (int32_t)sums[channel];
        for (int x = 0; x < tensors[layer->input].width; x++) {
            sum += in[x * channels + channel];
        }
        sums[channel] = ($sum_type)sum;
        if (at->step + 1 == layer->steps) {
            const int32_t value = rescale(layer, sum, 0);
            if (layer->output == LOGITS) {
                logits_out[channel] = value;
            } else {
                out[channel] = clamp(value);
            }
        }
    }
}

FUNCTION void add(const struct layer *layer, const struct progress *at)
{
    const struct tensor *output = &tensors[layer->output];
    const uint8_t *left = input_row(layer->input, at->row);
    const uint8_t *right = input_row(layer->other, at->row);
    uint8_t *out = row_of(layer->output, at->row);
    const int32_t left_factor = multipliers[layer->multiplier];
    const int32_t right_factor = multipliers[layer->multiplier + 1];
    const int32_t bias = biases[layer->bias] * (1 << layer->bias_shift);
    for (int i = 0; i < output->width * output->channels; i++) {
        const int32_t sum = left[i] * left_factor + right[i] * right_factor;
        out[i] = clamp((sum + bias) >> layer->shift);
    }
}

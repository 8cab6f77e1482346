FUNCTION void add(const struct layer *layer, int row)
{
    const struct tensor *output = &tensors[layer->output];
    const uint8_t *left = input_row(layer->input, row);
    const uint8_t *right = input_row(layer->other, row);
    uint8_t *out = row_of(layer->output, row);
    for (int i = 0; i < output->width * output->channels; i++) {
        const int32_t sum = left[i] * layer->left_factor + right[i] * layer->right_factor;
        out[i] = clamp((sum + layer->biases[0] * (1 << layer->bias_shift)) >> layer->shift);
    }
}

FUNCTION void table(const struct layer *layer, int row)
{
    const struct tensor *output = &tensors[layer->output];
    const uint8_t *in = input_row(layer->input, row);
    uint8_t *out = row_of(layer->output, row);
    for (int i = 0; i < output->width * output->channels; i++) {
        out[i] = layer->table[in[i]];
    }
}

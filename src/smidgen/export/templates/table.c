FUNCTION void table(const struct layer *layer, const struct progress *at)
{
    const struct tensor *output = &tensors[layer->output];
    const uint8_t *in = input_row(layer->input, at->row);
    uint8_t *out = row_of(layer->output, at->row);
    for (int i = 0; i < output->width * output->channels; i++) {
        out[i] = tables[layer->table + in[i]];
    }
}

/* One input's part of a row of a concatenation. */
FUNCTION void concat(const struct layer *layer, const struct progress *at)
{
    const struct tensor *input = &tensors[layer->input];
    const uint8_t *in = input_row(layer->input, at->row);
    uint8_t *out = row_of(layer->output, at->row) + layer->channel;
    for (int x = 0; x < input->width; x++, out += tensors[layer->output].channels) {
        for (int channel = 0; channel < input->channels; channel++) {
            out[channel] = clamp(rescale(layer, *in++, layer->channel + channel));
        }
    }
}

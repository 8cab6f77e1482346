/* One row of the input, as a part of a row of largest values. */
FUNCTION void max_pool(const struct layer *layer, const struct progress *at)
{
    const int channels = tensors[layer->output].channels;
    const uint8_t *in = input_row(layer->input, at->row * layer->pool_stride_y + at->step);
    uint8_t *out = row_of(layer->output, at->row);
    for (int x = 0; x < tensors[layer->output].width; x++, out += channels) {
        const uint8_t *under = in + x * layer->pool_stride_x * channels;
        for (int part = 0; part < layer->pool_width; part++) {
            for (int channel = 0; channel < channels; channel++, under++) {
                if (at->step + part == 0 || *under > out[channel]) {
                    out[channel] = *under;
                }
            }
        }
    }
}

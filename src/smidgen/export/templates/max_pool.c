/* One row of the input, as a part of a row of largest values. */
FUNCTION void max_pool(const struct layer *layer, int row, int step)
{
    const int channels = tensors[layer->output].channels;
    const uint8_t *in = input_row(layer->input, row * layer->stride_y + step);
    uint8_t *out = row_of(layer->output, row);
    for (int x = 0; x < tensors[layer->output].width; x++, out += channels) {
        for (int part = 0; part < layer->kernel_width; part++) {
            for (int channel = 0; channel < channels; channel++) {
                const uint8_t value = in[(x * layer->stride_x + part) * channels + channel];
                const uint8_t before = step + part == 0 ? 0 : out[channel];
                out[channel] = value > before ? value : before;
            }
        }
    }
}

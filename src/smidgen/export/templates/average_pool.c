FUNCTION void average_pool(const struct layer *layer, const struct progress *at)
{
    const int channels = tensors[layer->output].channels;
    uint8_t *out = row_of(layer->output, at->row);
    for (int x = 0; x < tensors[layer->output].width; x++) {
        for (int channel = 0; channel < channels; channel++, out++) {
            int32_t sum = 0;
            for (int y = 0; y < layer->pool_height; y++) {
                const uint8_t *in = input_row(layer->input, at->row * layer->pool_stride_y + y);
                in += x * layer->pool_stride_x * channels + channel;
                for (int part = 0; part < layer->pool_width; part++, in += channels) {
                    sum += *in;
                }
            }
            *out = clamp(rescale(layer, sum, 0));
        }
    }
}

FUNCTION void average_pool(const struct layer *layer, int row)
{
    const int channels = tensors[layer->output].channels;
    uint8_t *out = row_of(layer->output, row);
    for (int x = 0; x < tensors[layer->output].width; x++) {
        for (int channel = 0; channel < channels; channel++, out++) {
            int32_t sum = 0;
            for (int ky = 0; ky < layer->kernel_height; ky++) {
                const uint8_t *in = input_row(layer->input, row * layer->stride_y + ky);
                in += x * layer->stride_x * channels + channel;
                for (int kx = 0; kx < layer->kernel_width; kx++, in += channels) {
                    sum += *in;
                }
            }
            *out = clamp(rescale(layer, sum, 0));
        }
    }
}

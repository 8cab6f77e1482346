FUNCTION int32_t average_pool(const struct layer *layer, const struct view *view, int channel)
{
    int32_t sum = 0;
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        const uint8_t *at = view->rows[ky] + view->left + channel;
        for (int kx = 0; kx < layer->kernel_width; kx++, at += tensors[layer->input].channels) {
            sum += *at;
        }
    }
    return sum * multipliers[layer->multiplier];
}

/* @channel: what `advance` does for a channel of a pixel */
                    product = average_pool(layer, &view, channel);

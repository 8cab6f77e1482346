FUNCTION int32_t concat(const struct layer *layer, const struct view *view, int channel)
{
    return view->rows[0][view->left + channel] * multipliers[layer->multiplier + channel];
}

/* @channel: what `advance` does for a channel of a pixel */
                    product = concat(layer, &view, channel);

/* @channels: a layer may make only some of a tensor's channels */
layer->channels

/* @stride: from one pixel of the output to the next */
tensors[layer->output].channels

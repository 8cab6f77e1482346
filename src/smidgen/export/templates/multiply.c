FUNCTION int32_t multiply_pixel(const struct layer *layer, const struct view *view, int channel)
{
    const int32_t one = view->rows[0][view->left + channel] - layer->zero;
    const int32_t two = view->other[view->left * layer->other_moves + channel] - layer->other_zero;
    return one * two * multipliers[layer->multiplier];
}

/* @row: what `advance` does before the pixels of a row */
    if (layer->operation == MULTIPLY) {
        view.other = input_row(layer->other, row * layer->other_moves);
    }

/* @channel: what `advance` does for a channel of a pixel */
                    product = multiply_pixel(layer, &view, channel);

FUNCTION int32_t add(const struct layer *layer, const struct view *view, int channel)
{
    const int i = view->left + channel;
    return view->rows[0][i] * multipliers[layer->multiplier] +
           view->other[i] * multipliers[layer->multiplier + 1];
}

/* @row: what `advance` does before the pixels of a row */
    view.other = input_row(layer->other, row);
    if (FAST && layer->operation == ADD) {
        channels *= columns;
        columns = 1;
    }

/* @channel: what `advance` does for a channel of a pixel */
                    product = add(layer, &view, channel);

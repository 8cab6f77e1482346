static $sum_type sums[$sums];

/* The average of what has been read so far: it grows, and the last is the largest. */
FUNCTION int32_t global_average(const struct layer *layer, const struct view *view, int channel)
{
    $sum_type *sum = &sums[layer->sums + channel]; /* averages at work at once keep theirs apart */
    const int before = view->is_first ? 0 : (int)*sum;
    *sum = ($sum_type)(before + view->rows[0][view->left + channel]);
    return (int32_t)*sum * multipliers[layer->multiplier];
}

/* @channel: what `advance` does for a channel of a pixel */
                    product = global_average(layer, &view, channel);
                    if (FAST && !view.is_first && part + 1 < layer->parts) {
                        continue; /* the sum is not complete */
                    }

FUNCTION int32_t concat(const struct layer *layer, const struct view *view, int channel)
{
    return view->rows[0][view->left + channel] * multipliers[layer->multiplier + channel];
}

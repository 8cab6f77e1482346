FUNCTION int32_t add(const struct layer *layer, const struct view *view, int channel)
{
    const int i = view->left + channel;
    return view->rows[0][i] * multipliers[layer->multiplier] +
           view->other[i] * multipliers[layer->multiplier + 1];
}

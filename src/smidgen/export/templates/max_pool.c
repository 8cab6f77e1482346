FUNCTION int32_t max_pool(const struct view *view, int channel)
{
    return view->rows[0][view->left + channel];
}

/* @channel: what `advance` does for a channel of a pixel */
                    product = max_pool(&view, channel);

FUNCTION int32_t table(const uint8_t *values, const struct view *view, int channel)
{
    return values[view->rows[0][view->left + channel]];
}

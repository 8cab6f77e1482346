FUNCTION int32_t table(const uint8_t *values, const struct view *view, int channel)
{
    return values[view->rows[0][view->left + channel]];
}

/* @row: what `advance` does before the pixels of a row */
    if (FAST && layer->operation == TABLE) {
        channels *= columns;
        columns = 1;
    }

/* @channel: what `advance` does for a channel of a pixel */
                    product = table(tables + layer->table, &view, channel);

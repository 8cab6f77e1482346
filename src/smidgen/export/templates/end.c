FUNCTION void advance(int number)
{
    const struct layer *layer = &layers[number];
    const int row = progress[number].row;
    const int step = progress[number].step;
    switch (layer->operation) {
$calls
    }
    if (step + 1 < layer->steps) {
        progress[number].step++;
    } else {
        progress[number].step = 0;
        progress[number].row++;
    }
}

int smidgen_predict(const uint8_t image[$pixels], int32_t logits[$classes])
{
    image_rows = image;
    logits_out = logits;
    for (int i = 0; i < $layers; i++) {
        progress[i].row = 0;
        progress[i].step = 0;
    }
    for (unsigned i = 0; i < sizeof schedule; i++) {
#if FAST
        switch (schedule[i]) {
$cases
        }
#else
        advance(schedule[i]);
#endif
    }
    int best = 0;
    for (int i = 1; i < $classes; i++) {
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}

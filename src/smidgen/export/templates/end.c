FUNCTION void advance(int number)
{
    const struct layer *layer = &layers[number];
    struct progress *at = &progress[number];
$calls
    at->step++;
    if (at->step == layer->steps) {
        at->step = 0;
        at->row++;
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
    for (unsigned i = 0; i < sizeof schedule / sizeof *schedule; i++) {
        for (int number = schedule[i].first; number <= schedule[i].last; number++) {
#if FAST
            switch (number) {
$cases
            }
#else
            advance(number);
#endif
        }
    }
    int best = 0;
    for (int i = 1; i < $classes; i++) {
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}

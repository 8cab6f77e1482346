/* Batch norm (Ioffe & Szegedy 2015) of the shard, with the sum and the ReLU that may follow it. */

/* Adds a row of some channels to the sums over all images and places: of a value less a number near
   the channel's mean, its first value, which is left in `saved`, and of the square of that. */
static void add_moments(const network *n, const instruction *l, int32_t first, int32_t channels,
                        int32_t b, int32_t y)
{
    const feature_map *t = &n->map[l->source];
    const lanes mask = present(n, b);
    lanes *sum = n->sums, *square = n->sums + t->channels * PARTS;
    for (int32_t c = first; c < first + channels; c++) {
        const lanes *in = row(n, t, t->values, b, c, y);
        float *pivot = n->saved + l->saved + c;
        if (b == 0 && y == 0) {
            *pivot = in[0][0];
            memset(sum + c * PARTS, 0, sizeof(lanes) * PARTS);
            memset(square + c * PARTS, 0, sizeof(lanes) * PARTS);
        }
        const float near = *pivot;
        lanes part = {0}, squares = {0};
        for (int32_t x = 0; x < t->width; x++) {
            const lanes value = in[x] - near;
            part += value;
            squares += value * value;
        }
        sum[c * PARTS + b % PARTS] += part * mask;
        square[c * PARTS + b % PARTS] += squares * mask;
    }
}

static int has_norm(const network *n, const instruction *l)
{
    const instruction *next = l + 1;
    return next < n->instruction + n->instructions && next->operation == BATCH_NORM &&
           next->source == l->output;
}

/* Moves the running statistics on, and saves mean and 1 / deviation; the running variance is the
   unbiased one. */
static void statistics(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source];
    const float count = (float)n->images * (float)(t->height * t->width);
    float *running = n->statistics + l->statistics, *mean = n->saved + l->saved;
    const lanes *sum = n->sums, *square = n->sums + t->channels * PARTS;
    const instruction *before = l - 1; /* a convolution adds its rows while they are in the cache */
    if (l == n->instruction || before->operation != CONVOLUTION || !has_norm(n, before))
        for (int32_t b = 0; b < blocks(n); b++)
            for (int32_t y = 0; y < t->height; y++)
                add_moments(n, l, 0, t->channels, b, y);
    for (int32_t c = 0; c < t->channels; c++) {
        const float above = total(&sum[c * PARTS]) / count;
        const float variance = fmaxf(total(&square[c * PARTS]) / count - above * above, 0);
        mean[c] += above;
        mean[t->channels + c] = 1 / sqrtf(variance + l->eps);
        running[c] += l->momentum * (mean[c] - running[c]);
        running[t->channels + c] +=
            l->momentum * (variance * count / (count - 1) - running[t->channels + c]);
    }
}

static float gain_of(const network *n, const instruction *l, int32_t c)
{
    const float scale = n->saved[l->saved + n->map[l->source].channels + c];
    return (l->weight < 0 ? 1 : n->parameters[l->weight + c]) * scale;
}

static float offset_of(const network *n, const instruction *l, int32_t c, float gain)
{
    return (l->bias < 0 ? 0 : n->parameters[l->bias + c]) - n->saved[l->saved + c] * gain;
}

static void norm_forward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    const feature_map *added = l->other < 0 ? 0 : &n->map[l->other];
    statistics(n, l);
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < t->height; y++)
            for (int32_t c = 0; c < t->channels; c++) {
                const float gain = gain_of(n, l, c);
                const float offset = offset_of(n, l, c, gain);
                const lanes *in = row(n, t, t->values, b, c, y);
                lanes *out = row(n, o, o->values, b, c, y);
                if (added) {
                    const lanes *plus = row(n, added, added->values, b, c, y);
                    for (int32_t x = 0; x < t->width; x++)
                        out[x] = rectified(l, in[x] * gain + offset + plus[x]);
                } else
                    for (int32_t x = 0; x < t->width; x++)
                        out[x] = rectified(l, in[x] * gain + offset);
            }
}

/* The sums of each channel's gradient before the ReLU, and of its product with the input less its
   mean. What was added gets that gradient, too: in place, where it shares the output's memory. Where
   nothing was added, the input says what the output was, for less than it costs to load. */
static void norm_backward_sums(const network *n, const instruction *l, lanes *sum, lanes *along)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    const feature_map *added = l->other < 0 ? o : &n->map[l->other];
    const int writes = l->other >= 0 && added->gradient >= 0;
    const int add = l->add_other && added->gradient != o->gradient;
    memset(sum, 0, sizeof(lanes) * PARTS * (size_t)t->channels);
    memset(along, 0, sizeof(lanes) * PARTS * (size_t)t->channels);
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < t->height; y++)
            for (int32_t c = 0; c < t->channels; c++) {
                const lanes *in = row(n, t, t->values, b, c, y);
                const lanes *out = row(n, o, o->values, b, c, y);
                const lanes *gradient = row(n, o, o->gradient, b, c, y);
                lanes *to = writes ? row(n, added, added->gradient, b, c, y) : 0;
                const float mean = n->saved[l->saved + c];
                const float gain = gain_of(n, l, c), offset = offset_of(n, l, c, gain);
                lanes part = {0}, product = {0};
                for (int32_t x = 0; x < t->width; x++) {
                    const lanes value = l->other < 0 ? in[x] * gain + offset : out[x];
                    const lanes g = through(l, gradient[x], value);
                    if (writes)
                        put(&to[x], g, add);
                    part += g;
                    product += g * (in[x] - mean);
                }
                sum[c * PARTS + b % PARTS] += part;
                along[c * PARTS + b % PARTS] += product;
            }
}

static void norm_backward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    const float count = (float)n->images * (float)(t->height * t->width);
    float level[t->channels], slope[t->channels];
    lanes *sums = n->sums, *alongs = n->sums + t->channels * PARTS;
    norm_backward_sums(n, l, sums, alongs);
    for (int32_t c = 0; c < t->channels; c++) {
        const float scale = n->saved[l->saved + t->channels + c];
        const float sum = total(&sums[c * PARTS]), along = total(&alongs[c * PARTS]) * scale;
        if (l->weight >= 0)
            n->gradient[l->weight + c] += along;
        if (l->bias >= 0)
            n->gradient[l->bias + c] += sum;
        level[c] = sum / count;
        slope[c] = along * scale / count;
    }
    instruction past = *l; /* the ReLU is done where the gradient was written back in place */
    past.has_relu = l->has_relu && (l->other < 0 || n->map[l->other].gradient != o->gradient);
    for (int32_t b = 0; b < blocks(n) && t->gradient >= 0; b++) {
        const lanes mask = present(n, b);
        for (int32_t y = 0; y < t->height; y++)
            for (int32_t c = 0; c < t->channels; c++) {
                const lanes *in = row(n, t, t->values, b, c, y);
                const lanes *out = row(n, o, o->values, b, c, y);
                const lanes *gradient = row(n, o, o->gradient, b, c, y);
                lanes *to = row(n, t, t->gradient, b, c, y);
                const float gain = gain_of(n, l, c), offset = offset_of(n, l, c, gain);
                const float steep = slope[c], flat = level[c], mean = n->saved[l->saved + c];
                for (int32_t x = 0; x < t->width; x++) {
                    const lanes value = l->other < 0 ? in[x] * gain + offset : out[x];
                    const lanes g = through(&past, gradient[x], value);
                    put(&to[x], mask * gain * (g - flat - steep * (in[x] - mean)), l->add_source);
                }
            }
    }
}

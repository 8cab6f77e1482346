/* Everything between convolutions: passes over rows. */

/* Maximum or mean over windows that do not overlap; what is left over at the edge is not read. */
static void pool_forward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    const int32_t high = l->kernel_height, wide = l->kernel_width;
    const int64_t step = row_step(t);
    const float share = 1 / (float)(high * wide);
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < o->height; y++)
            for (int32_t c = 0; c < t->channels; c++) {
                const lanes *in = row(n, t, t->values, b, c, y * high);
                lanes *out = row(n, o, o->values, b, c, y);
                for (int32_t x = 0; x < o->width; x++) {
                    lanes most = in[x * wide], sum = {0};
                    for (int32_t i = 0; i < high; i++)
                        for (int32_t j = 0; j < wide; j++) {
                            const lanes value = in[i * step + x * wide + j];
                            most = larger(most, value);
                            sum += value;
                        }
                    out[x] = rectified(l, l->operation == MAX_POOL ? most : sum * share);
                }
            }
}

static void pool_backward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    const int32_t high = l->kernel_height, wide = l->kernel_width;
    const int64_t step = row_step(t);
    const float share = 1 / (float)(high * wide);
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t c = 0; c < t->channels; c++) {
            if (!l->add_source && (t->height % high || t->width % wide))
                for (int32_t y = 0; y < t->height; y++)
                    memset(row(n, t, t->gradient, b, c, y), 0, sizeof(lanes) * (size_t)t->width);
            for (int32_t y = 0; y < o->height; y++) {
                const lanes *in = row(n, t, t->values, b, c, y * high);
                const lanes *out = row(n, o, o->values, b, c, y);
                const lanes *gradient = row(n, o, o->gradient, b, c, y);
                lanes *to = row(n, t, t->gradient, b, c, y * high);
                for (int32_t x = 0; x < o->width; x++) {
                    lanes left = through(l, gradient[x], out[x]); /* for the first largest */
                    for (int32_t i = 0; i < high; i++)
                        for (int32_t j = 0; j < wide; j++) {
                            const int64_t place = i * step + x * wide + j;
                            const choice hit = rectified(l, in[place]) == out[x];
                            const int is_mean = l->operation == AVERAGE_POOL;
                            put(&to[place], is_mean ? left * share : where(hit, left),
                                l->add_source);
                            if (!is_mean)
                                left = where(~hit, left);
                        }
                }
            }
        }
}

static void add_forward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *u = &n->map[l->other];
    const feature_map *o = &n->map[l->output];
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < t->height; y++)
            for (int32_t c = 0; c < t->channels; c++) {
                const lanes *one = row(n, t, t->values, b, c, y);
                const lanes *two = row(n, u, u->values, b, c, y);
                lanes *out = row(n, o, o->values, b, c, y);
                for (int32_t x = 0; x < t->width; x++) {
                    out[x] = rectified(l, one[x] + two[x]);
                }
            }
}

/* The gradient of the output's channels from `first` on, handed to a tensor of the same size. */
static void hand_down(const network *n, const instruction *l, const feature_map *to, int32_t first,
                      int32_t add)
{
    const feature_map *o = &n->map[l->output];
    const int is_there = to->gradient == o->gradient && !l->has_relu;
    for (int32_t b = 0; b < blocks(n) && to->gradient >= 0 && !is_there; b++)
        for (int32_t y = 0; y < to->height; y++)
            for (int32_t c = 0; c < to->channels; c++) {
                const lanes *out = row(n, o, o->values, b, c + first, y);
                const lanes *gradient = row(n, o, o->gradient, b, c + first, y);
                lanes *place = row(n, to, to->gradient, b, c, y);
                for (int32_t x = 0; x < to->width; x++)
                    put(&place[x], through(l, gradient[x], out[x]), add);
            }
}

/* A branch that shares the sum's memory comes last: a ReLU's slope is then applied in place. */
static void add_backward(const network *n, const instruction *l)
{
    const feature_map *o = &n->map[l->output], *source = &n->map[l->source];
    const feature_map *other = &n->map[l->other];
    if (source->gradient != o->gradient)
        hand_down(n, l, source, 0, l->add_source);
    if (other->gradient != o->gradient)
        hand_down(n, l, other, 0, l->add_other);
    if (source->gradient == o->gradient || other->gradient == o->gradient)
        hand_down(n, l, o, 0, 0);
}

/* The place of a value in an operand of a product, whose sides of one stand for all places. */
static lanes *broadcast_row(const network *n, const feature_map *t, int64_t buffer, int32_t block,
                            int32_t channel, int32_t y)
{
    return row(n, t, buffer, block, t->channels > 1 ? channel : 0, t->height > 1 ? y : 0);
}

static void multiply_forward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *u = &n->map[l->other], *o = &n->map[l->output];
    const int32_t t_step = t->width > 1, u_step = u->width > 1;
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < o->height; y++)
            for (int32_t c = 0; c < o->channels; c++) {
                const lanes *one = broadcast_row(n, t, t->values, b, c, y);
                const lanes *two = broadcast_row(n, u, u->values, b, c, y);
                lanes *out = row(n, o, o->values, b, c, y);
                for (int32_t x = 0; x < o->width; x++)
                    out[x] = one[x * t_step] * two[x * u_step];
            }
}

/* The gradient of one operand, which has the other for its slope. */
static void multiply_backward(const network *n, const instruction *l, const feature_map *to,
                              const feature_map *slope, int32_t add)
{
    const feature_map *o = &n->map[l->output];
    const int32_t to_step = to->width > 1, slope_step = slope->width > 1;
    if (to->gradient < 0)
        return;
    for (int32_t b = 0; b < blocks(n); b++) {
        for (int32_t c = 0; c < to->channels && !add; c++)
            for (int32_t y = 0; y < to->height; y++)
                memset(row(n, to, to->gradient, b, c, y), 0, sizeof(lanes) * (size_t)to->width);
        for (int32_t y = 0; y < o->height; y++)
            for (int32_t c = 0; c < o->channels; c++) {
                const lanes *gradient = row(n, o, o->gradient, b, c, y);
                const lanes *times = broadcast_row(n, slope, slope->values, b, c, y);
                lanes *place = broadcast_row(n, to, to->gradient, b, c, y);
                for (int32_t x = 0; x < o->width; x++)
                    place[x * to_step] += gradient[x] * times[x * slope_step];
            }
    }
}

static void copy_channels(const network *n, const feature_map *from, const instruction *l,
                          int32_t first)
{
    const feature_map *o = &n->map[l->output];
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < from->height; y++)
            for (int32_t c = 0; c < from->channels; c++)
                memcpy(row(n, o, o->values, b, c + first, y), row(n, from, from->values, b, c, y),
                       sizeof(lanes) * (size_t)from->width);
}

/* Marsaglia's xorshift on a mixture of seed and place (Vigna's splitmix constants), by lane; `first`
   is that of the group's lanes which is the first of this block. */
static choice kept(uint32_t seed, uint32_t place, uint32_t first, uint32_t dropped)
{
    bits state;
    for (uint32_t lane = 0; lane < LANES; lane++)
        state[lane] = (place * GROUP + first + lane) * 0x9e3779b9u + seed;
    state = (state ^ (state >> 16)) * 0x85ebca6bu;
    state = (state ^ (state >> 13)) * 0xc2b2ae35u;
    return (choice)((state ^ (state >> 16)) >= dropped);
}

/* Zero with the layer's probability; forward from the values, or backward from the gradient. */
static void dropout(const network *n, const instruction *l, int is_backward)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    const float scale = 1 / (1 - l->p);
    const uint32_t dropped = (uint32_t)(l->p * 4294967296.0);
    const uint32_t seed = n->seed ^ ((uint32_t)l->output * 0x632be5abu);
    for (int32_t b = 0; b < blocks(n); b++) {
        const uint32_t first = (uint32_t)(b % PARTS * LANES);
        uint32_t place = (uint32_t)(b / PARTS * t->channels * t->height * t->width);
        for (int32_t y = 0; y < t->height; y++)
            for (int32_t c = 0; c < t->channels; c++) {
                const lanes *in = is_backward ? row(n, o, o->gradient, b, c, y)
                                              : row(n, t, t->values, b, c, y);
                lanes *out = is_backward ? row(n, t, t->gradient, b, c, y)
                                         : row(n, o, o->values, b, c, y);
                for (int32_t x = 0; x < t->width; x++)
                    put(&out[x], where(kept(seed, place++, first, dropped), in[x] * scale),
                        is_backward && l->add_source);
            }
    }
}

static void forward(const network *n, const instruction *l)
{
    switch (l->operation) {
    case CONVOLUTION: (is_depthwise(n, l) ? depthwise_forward : convolution_forward)(n, l); break;
    case LINEAR: linear_forward(n, l); break;
    case BATCH_NORM: norm_forward(n, l); break;
    case ACTIVATION: activation_forward(n, l); break;
    case MAX_POOL:
    case AVERAGE_POOL: pool_forward(n, l); break;
    case ADD: add_forward(n, l); break;
    case MULTIPLY: multiply_forward(n, l); break;
    case CONCATENATION:
        copy_channels(n, &n->map[l->source], l, 0);
        copy_channels(n, &n->map[l->other], l, n->map[l->source].channels);
        break;
    case DROPOUT: dropout(n, l, 0); break;
    }
}

static void backward(const network *n, const instruction *l)
{
    const feature_map *source = &n->map[l->source];
    const feature_map *other = l->other < 0 ? source : &n->map[l->other];
    const int has_weights = l->operation <= BATCH_NORM;
    if (source->gradient < 0 && other->gradient < 0 && !has_weights)
        return;
    switch (l->operation) {
    case CONVOLUTION:
        bias_backward(n, l);
        (is_depthwise(n, l) ? depthwise_backward : convolution_backward)(n, l);
        break;
    case LINEAR:
        bias_backward(n, l);
        linear_backward(n, l);
        break;
    case BATCH_NORM: norm_backward(n, l); break;
    case MAX_POOL:
    case AVERAGE_POOL: pool_backward(n, l); break;
    case ACTIVATION: activation_backward(n, l); break;
    case ADD: add_backward(n, l); break;
    case MULTIPLY:
        multiply_backward(n, l, source, other, l->add_source);
        multiply_backward(n, l, other, source, l->add_other);
        break;
    case CONCATENATION:
        hand_down(n, l, source, 0, l->add_source);
        hand_down(n, l, other, source->channels, l->add_other);
        break;
    case DROPOUT: dropout(n, l, 1); break;
    }
}

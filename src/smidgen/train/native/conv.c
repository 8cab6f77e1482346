/* Convolutions and linear layers. Both are sums over taps: an output is the sum over t of weight[t]
   times the input that lies input_offsets[t] away; and so is their gradient, with the roles of
   inputs and outputs changed. */

typedef struct {
    lanes *out;
    const int64_t *output_offsets; /* where each output channel lies */
    const lanes *in;
    const int64_t *input_offsets; /* where each tap lies */
    int64_t step;        /* from the input of one column to that of the next */
    int64_t out_step;    /* from the output of one column to that of the next */
    const float *weights; /* [tap][channel] */
    const float *bias;
    int32_t taps, channels, add;
} product;

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

/* `deep` channels from c on of `wide` columns from x on; both constant where this is inlined. */
INLINE void sums(const product *p, const int deep, const int wide, int32_t c, int32_t x)
{
    const int64_t step = p->step, out_step = p->out_step;
    lanes *out[MOST_DEEP];
    UNROLL for (int i = 0; i < deep; i++)
        out[i] = p->out + p->output_offsets[c + i] + x * out_step;
    lanes sum[MOST_DEEP][MOST_WIDE];
    UNROLL for (int i = 0; i < deep; i++)
        UNROLL for (int j = 0; j < wide; j++)
            sum[i][j] = p->add ? out[i][j * out_step] : all(p->bias ? p->bias[c + i] : 0);
    const lanes *in = p->in + x * step;
    const float *weights = p->weights + c;
    for (int32_t t = 0; t < p->taps; t++, weights += p->channels) {
        const lanes *tap = in + p->input_offsets[t];
        UNROLL for (int j = 0; j < wide; j++) {
            const lanes value = tap[j * step];
            UNROLL for (int i = 0; i < deep; i++)
                sum[i][j] += weights[i] * value;
        }
    }
    UNROLL for (int i = 0; i < deep; i++)
        UNROLL for (int j = 0; j < wide; j++)
            out[i][j * out_step] = sum[i][j];
}

#define WIDE(deep)                                                                                 \
    switch (wide) {                                                                                \
    case 1: sums(p, deep, 1, c, x); break;                                                         \
    case 2: sums(p, deep, 2, c, x); break;                                                         \
    case 3: sums(p, deep, 3, c, x); break;                                                         \
    case 4: sums(p, deep, 4, c, x); break;                                                         \
    case 5: sums(p, deep, 5, c, x); break;                                                         \
    case 6: sums(p, deep, 6, c, x); break;                                                         \
    case 7: sums(p, deep, 7, c, x); break;                                                         \
    }

/* The longest of equal parts of `length` that are at most `most` long. */
static int32_t part(int32_t length, int32_t most)
{
    const int32_t parts = (length + most - 1) / most;
    return (length + parts - 1) / parts;
}

static int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

/* One row of outputs. */
static void multiply(const product *p, int32_t width)
{
    const int32_t widest = part(width, MOST_WIDE);
    const int32_t deepest = part(p->channels, least(MOST_DEEP, MOST_SUMS / widest));
    for (int32_t x = 0; x < width; x += widest) {
        const int32_t wide = least(widest, width - x);
        for (int32_t c = 0; c < p->channels; c += deepest)
            switch (least(deepest, p->channels - c)) {
            case 1: WIDE(1) break;
            case 2: WIDE(2) break;
            case 3: WIDE(3) break;
            case 4: WIDE(4) break;
            }
    }
}

typedef struct {
    const network *n;
    const feature_map *out, *in;
    int32_t out_channel, in_channel; /* the first of the group */
    int32_t first_row, rows;         /* of the outputs of all groups, one group after the other */
    int32_t pad_height, pad_width, stride_height, stride_width;
    const int64_t *input_offsets;
    float *gradient; /* [channel][tap] */
    int32_t taps;
} correlation;

/* The gradient of the weights of `deep` channels from c on and `many` taps from t on. */
INLINE void products(const correlation *p, const int deep, const int many, int32_t c, int32_t t)
{
    lanes sums[MOST_DEEP][MOST_WIDE][PARTS];
    const int64_t *input_offsets = p->input_offsets + t, next = channel_step(p->out);
    const int64_t step = p->stride_width;
    for (int32_t part = 0; part < PARTS; part++) {
        lanes sum[MOST_DEEP][MOST_WIDE];
        UNROLL for (int i = 0; i < deep; i++)
            UNROLL for (int j = 0; j < many; j++)
                sum[i][j] = (lanes){0};
        for (int32_t r = p->first_row; r < p->first_row + p->rows; r++) {
            const int32_t block = r / p->out->height * PARTS + part, y = r % p->out->height;
            if (block >= blocks(p->n))
                break;
            const lanes *out = row(p->n, p->out, p->out->gradient, block, p->out_channel + c, y);
            const lanes *in = row(p->n, p->in, p->in->values, block, p->in_channel,
                                  y * p->stride_height - p->pad_height) - p->pad_width;
            for (int32_t x = 0; x < p->out->width; x++, out++, in += step) {
                UNROLL for (int j = 0; j < many; j++) {
                    lanes value = in[input_offsets[j]];
                    KEEP_IN_REGISTER(value);
                    UNROLL for (int i = 0; i < deep; i++)
                        sum[i][j] += out[i * next] * value;
                }
            }
        }
        UNROLL for (int i = 0; i < deep; i++)
            UNROLL for (int j = 0; j < many; j++)
                sums[i][j][part] = sum[i][j];
    }
    UNROLL for (int i = 0; i < deep; i++)
        UNROLL for (int j = 0; j < many; j++)
            p->gradient[(c + i) * p->taps + t + j] += total(sums[i][j]);
}

#define MANY(deep)                                                                                 \
    switch (many) {                                                                                \
    case 1: products(p, deep, 1, c, t); break;                                                     \
    case 2: products(p, deep, 2, c, t); break;                                                     \
    case 3: products(p, deep, 3, c, t); break;                                                     \
    case 4: products(p, deep, 4, c, t); break;                                                     \
    case 5: products(p, deep, 5, c, t); break;                                                     \
    case 6: products(p, deep, 6, c, t); break;                                                     \
    case 7: products(p, deep, 7, c, t); break;                                                     \
    }

static void correlate(const correlation *p, int32_t channels)
{
    const int32_t deepest = part(channels, MOST_DEEP);
    const int32_t most = part(p->taps, least(MOST_WIDE, MOST_SUMS / deepest));
    for (int32_t t = 0; t < p->taps; t += most)
        for (int32_t c = 0; c < channels; c += deepest) {
            const int32_t many = least(most, p->taps - t);
            switch (least(deepest, channels - c)) {
            case 1: MANY(1) break;
            case 2: MANY(2) break;
            case 3: MANY(3) break;
            case 4: MANY(4) break;
            }
        }
}

/* Where the taps of a kernel lie: channels of a map, rows and columns, from its first tap on. */
static void taps_of(const feature_map *t, int32_t channels, int32_t height, int32_t width,
                    int64_t *input_offsets)
{
    for (int32_t c = 0; c < channels; c++)
        for (int32_t y = 0; y < height; y++)
            for (int32_t x = 0; x < width; x++)
                *input_offsets++ = c * channel_step(t) + y * row_step(t) + x;
}

static void planes_of(const feature_map *t, int32_t channels, int64_t *output_offsets)
{
    for (int32_t c = 0; c < channels; c++)
        output_offsets[c] = c * channel_step(t);
}

static void convolution_forward(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    const int32_t taps = inputs * l->kernel_height * l->kernel_width;
    taps_of(in, inputs, l->kernel_height, l->kernel_width, n->input_offsets);
    planes_of(out, outputs, n->output_offsets);
    for (int32_t g = 0; g < l->groups; g++) {
        const float *weight = n->parameters + l->weight + (int64_t)g * outputs * taps;
        for (int32_t c = 0; c < outputs; c++)
            for (int32_t t = 0; t < taps; t++)
                n->packed[t * outputs + c] = weight[c * taps + t];
        product p = {
            .output_offsets = n->output_offsets, .input_offsets = n->input_offsets,
            .step = l->stride_width, .out_step = 1, .weights = n->packed, .taps = taps,
            .channels = outputs, .bias = l->bias < 0 ? 0 : n->parameters + l->bias + g * outputs};
        for (int32_t b = 0; b < blocks(n); b++)
            for (int32_t y = 0; y < out->height; y++) {
                p.out = row(n, out, out->values, b, g * outputs, y);
                p.in = row(n, in, in->values, b, g * inputs, y * l->stride_height - l->pad_height) -
                       l->pad_width;
                multiply(&p, out->width);
                if (has_norm(n, l))
                    add_moments(n, l + 1, g * outputs, outputs, b, y);
            }
    }
}

static void bias_backward(const network *n, const instruction *l)
{
    const feature_map *out = &n->map[l->output];
    for (int32_t c = 0; l->bias >= 0 && c < out->channels; c++) {
        lanes sum[PARTS] = {{0}};
        for (int32_t b = 0; b < blocks(n); b++)
            for (int32_t y = 0; y < out->height; y++)
                for (int32_t x = 0; x < out->width; x++)
                    sum[b % PARTS] += row(n, out, out->gradient, b, c, y)[x];
        n->gradient[l->bias + c] += total(sum);
    }
}

/* The gradient of the inputs at every row first_y + k * stride and column first_x + k * stride: a
   convolution of the outputs' gradient with the part of the kernel, turned round, that meets them. */
static void input_backward(const network *n, const instruction *l, int32_t group, int32_t first_y,
                           int32_t first_x)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t high = l->kernel_height, wide = l->kernel_width;
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    const float *weight = n->parameters + l->weight + (int64_t)group * outputs * inputs * high * wide;
    int32_t taps = 0;
    for (int32_t o = 0; o < outputs; o++)
        for (int32_t k = high * wide - 1; k >= 0; k--) {
            const int32_t y = first_y + l->pad_height - k / wide;
            const int32_t x = first_x + l->pad_width - k % wide;
            if (y % l->stride_height || x % l->stride_width)
                continue;
            n->input_offsets[taps] = o * channel_step(out) + y / l->stride_height * row_step(out) +
                                     x / l->stride_width;
            for (int32_t i = 0; i < inputs; i++)
                n->packed[taps * inputs + i] = weight[(o * inputs + i) * high * wide + k];
            taps++;
        }
    planes_of(in, inputs, n->output_offsets);
    product p = {
        .output_offsets = n->output_offsets, .input_offsets = n->input_offsets, .step = 1,
        .out_step = l->stride_width, .weights = n->packed, .taps = taps, .channels = inputs,
        .add = l->add_source};
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = first_y; y < in->height; y += l->stride_height) {
            p.out = row(n, in, in->gradient, b, group * inputs, y) + first_x;
            p.in = row(n, out, out->gradient, b, group * outputs, y / l->stride_height);
            multiply(&p, (in->width - first_x + l->stride_width - 1) / l->stride_width);
        }
}

/* How many rows of outputs stay in the cache while all weights meet them. */
static int32_t rows_at_once(const network *n, const feature_map *out)
{
    return least(groups(n) * out->height, (AT_ONCE + out->width - 1) / out->width);
}

static void weight_backward(const network *n, const instruction *l, int32_t group)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    const int32_t taps = inputs * l->kernel_height * l->kernel_width;
    const int32_t rows = groups(n) * out->height, most = rows_at_once(n, out);
    taps_of(in, inputs, l->kernel_height, l->kernel_width, n->input_offsets);
    correlation c = {
        .n = n, .out = out, .in = in, .out_channel = group * outputs, .in_channel = group * inputs,
        .pad_height = l->pad_height, .pad_width = l->pad_width, .stride_height = l->stride_height,
        .stride_width = l->stride_width, .input_offsets = n->input_offsets, .taps = taps,
        .gradient = n->gradient + l->weight + (int64_t)group * outputs * taps};
    for (c.first_row = 0; c.first_row < rows; c.first_row += most) {
        c.rows = least(most, rows - c.first_row);
        correlate(&c, outputs);
    }
}

static void convolution_backward(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source];
    for (int32_t g = 0; g < l->groups; g++) {
        weight_backward(n, l, g);
        if (in->gradient < 0)
            continue;
        for (int32_t y = 0; y < least(l->stride_height, in->height); y++)
            for (int32_t x = 0; x < least(l->stride_width, in->width); x++)
                input_backward(n, l, g, y, x);
    }
}

/* Every input is a tap of the one output, every output one of the one input. */
static void linear_forward(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t taps = in->channels * in->height * in->width;
    taps_of(in, in->channels, in->height, in->width, n->input_offsets);
    planes_of(out, out->channels, n->output_offsets);
    for (int32_t c = 0; c < out->channels; c++)
        for (int32_t t = 0; t < taps; t++)
            n->packed[t * out->channels + c] = n->parameters[l->weight + c * taps + t];
    product p = {
        .output_offsets = n->output_offsets, .input_offsets = n->input_offsets, .step = 1,
        .out_step = 1, .weights = n->packed, .taps = taps, .channels = out->channels,
        .bias = l->bias < 0 ? 0 : n->parameters + l->bias};
    for (int32_t b = 0; b < blocks(n); b++) {
        p.out = row(n, out, out->values, b, 0, 0);
        p.in = row(n, in, in->values, b, 0, 0);
        multiply(&p, 1);
    }
}

static void linear_backward(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t taps = in->channels * in->height * in->width;
    taps_of(in, in->channels, in->height, in->width, n->output_offsets);
    const correlation c = {.n = n, .out = out, .in = in, .rows = groups(n), .stride_height = 1,
                           .stride_width = 1, .input_offsets = n->output_offsets, .taps = taps,
                           .gradient = n->gradient + l->weight};
    correlate(&c, out->channels);
    if (in->gradient < 0)
        return;
    planes_of(out, out->channels, n->input_offsets);
    product p = {
        .output_offsets = n->output_offsets, .input_offsets = n->input_offsets, .step = 1,
        .out_step = 1, .taps = out->channels, .weights = n->parameters + l->weight,
        .channels = taps, .add = l->add_source};
    for (int32_t b = 0; b < blocks(n); b++) {
        p.out = row(n, in, in->gradient, b, 0, 0);
        p.in = row(n, out, out->gradient, b, 0, 0);
        multiply(&p, 1);
    }
}

/* What convolutions and linear layers are made of: sums over taps, and the gradient of the weights of
   such sums. */

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

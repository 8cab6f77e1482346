/* The gradient of the weights of sums over taps. */

#include "kernels.h"

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

void correlate(const correlation *p, int32_t channels)
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

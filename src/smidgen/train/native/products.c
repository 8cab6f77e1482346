/* Sums over taps, of which convolutions and linear layers are made. */

#include "kernels.h"

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

/* One row of outputs. */
void multiply(const product *p, int32_t width)
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

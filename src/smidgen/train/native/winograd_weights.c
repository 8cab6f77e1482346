/* The gradient of the weights of the convolutions of winograd.c: first that of U, which is a sum over
   tiles of all images, then of the kernels. It is computed row by row of U, for some tiles at once. */

#define TILES_AT_ONCE 28 /* whose products are added up in registers */

/* Row i of V for one channel, of a row of tiles; columns lie `next` apart. */
static void transform_inputs(lanes *to, int64_t next, const lanes *in, int64_t row, int32_t i,
                             int32_t high, int32_t width)
{
    static const int32_t one[SIDE] = {0, 1, 2, 1}, other[SIDE] = {2, 2, 1, 3};
    const lanes *a = in + one[i] * row, *b = in + least(other[i], high + 1) * row;
    const float sign = i == 1 ? 1 : -1;
    for (int32_t x = 0; x < width; x += 2, a += 2, b += 2, to++) {
        const int last = x + 1 < width ? 3 : 2;
        const lanes middle = a[1] + sign * b[1], right = a[2] + sign * b[2];
        to[0] = (a[0] + sign * b[0]) - right;
        to[next] = middle + right;
        to[2 * next] = right - middle;
        to[3 * next] = middle - (a[last] + sign * b[last]);
    }
}

/* Row i of A gradient Aᵀ for one channel, of a row of tiles. */
static void transform_gradient(lanes *to, int64_t next, const lanes *in, int64_t row, int32_t i,
                               int32_t high, int32_t width)
{
    const float top = i < 3, bottom = high < 2 || i == 0 ? 0 : i == 1 ? 1 : -1;
    const lanes *below = in + (high - 1) * row;
    for (int32_t x = 0; x < width; x += 2, to++) {
        const lanes left = top * in[x] + bottom * below[x];
        const lanes right = x + 1 < width ? top * in[x + 1] + bottom * below[x + 1] : all(0);
        to[0] = left;
        to[next] = left + right;
        to[2 * next] = left - right;
        to[3 * next] = -right;
    }
}

/* Adds to `deep` × `many` sums the products of gradients and inputs over all tiles. */
INLINE void add_products(const int deep, const int many, lanes *sums, int64_t next, const lanes *e,
                         const lanes *v, int32_t tiles)
{
    lanes sum[MOST_DEEP][MOST_WIDE];
    UNROLL for (int d = 0; d < deep; d++)
        UNROLL for (int k = 0; k < many; k++)
            sum[d][k] = sums[d * next + k * PARTS];
    for (int32_t t = 0; t < tiles; t++)
        UNROLL for (int k = 0; k < many; k++) {
            lanes value = v[k * tiles + t];
            KEEP_IN_REGISTER(value);
            UNROLL for (int d = 0; d < deep; d++)
                sum[d][k] += e[d * tiles + t] * value;
        }
    UNROLL for (int d = 0; d < deep; d++)
        UNROLL for (int k = 0; k < many; k++)
            sums[d * next + k * PARTS] = sum[d][k];
}

#define ADD_PRODUCTS(deep)                                                                         \
    switch (least(most, inputs - k)) {                                                             \
    case 1: add_products(deep, 1, to, next, gradient, input, tiles); break;                        \
    case 2: add_products(deep, 2, to, next, gradient, input, tiles); break;                        \
    case 3: add_products(deep, 3, to, next, gradient, input, tiles); break;                        \
    case 4: add_products(deep, 4, to, next, gradient, input, tiles); break;                        \
    case 5: add_products(deep, 5, to, next, gradient, input, tiles); break;                        \
    case 6: add_products(deep, 6, to, next, gradient, input, tiles); break;                        \
    }

/* One place of U's gradient: [output][input][part], from e [output][tile] and v [input][tile]. */
static void add_all_products(lanes *sums, const lanes *e, const lanes *v, int32_t outputs,
                             int32_t inputs, int32_t tiles)
{
    const int32_t deepest = part(outputs, MOST_DEEP), most = part(inputs, MOST_SUMS / MOST_DEEP);
    const int64_t next = (int64_t)inputs * PARTS;
    for (int32_t c = 0; c < outputs; c += deepest)
        for (int32_t k = 0; k < inputs; k += most) {
            lanes *to = sums + c * next + k * PARTS;
            const lanes *gradient = e + c * tiles, *input = v + k * tiles;
            switch (least(deepest, outputs - c)) {
            case 1: ADD_PRODUCTS(1) break;
            case 2: ADD_PRODUCTS(2) break;
            case 3: ADD_PRODUCTS(3) break;
            case 4: ADD_PRODUCTS(4) break;
            }
        }
}

/* Adds to the gradient of a kernel Gᵀ u G, summed over the lanes; u's places lie `next` apart. */
static void add_kernel(float *gradient, const lanes *u, int64_t next)
{
    lanes taps[9][PARTS];
    for (int32_t p = 0; p < PARTS; p++) {
        lanes across[SIDE][3];
        for (int32_t i = 0; i < SIDE; i++) {
            const lanes *v = u + i * SIDE * next + p;
            const lanes half = .5f * (v[next] + v[2 * next]);
            across[i][0] = v[0] + half;
            across[i][1] = .5f * (v[next] - v[2 * next]);
            across[i][2] = v[3 * next] + half;
        }
        for (int32_t j = 0; j < 3; j++) {
            const lanes half = .5f * (across[1][j] + across[2][j]);
            taps[j][p] = across[0][j] + half;
            taps[3 + j][p] = .5f * (across[1][j] - across[2][j]);
            taps[6 + j][p] = across[3][j] + half;
        }
    }
    for (int32_t t = 0; t < 9; t++)
        gradient[t] += total(taps[t]);
}

static void winograd_weight_backward(const network *n, const instruction *l, int32_t group)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    const int32_t across = (out->width + 1) / 2;
    const int32_t most = TILES_AT_ONCE < across ? 1 : TILES_AT_ONCE / across;
    const int64_t kernels = (int64_t)outputs * inputs, next = kernels * PARTS;
    lanes *sums = n->tiles, *v = sums + SIDE * SIDE * next;
    memset(sums, 0, sizeof(lanes) * (size_t)(SIDE * SIDE * next));
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t first = 0; first < out->height; first += 2 * most) {
            const int32_t rows = least(2 * most, out->height - first);
            const int32_t tiles = (rows + 1) / 2 * across;
            lanes *e = v + SIDE * inputs * tiles;
            for (int32_t i = 0; i < SIDE; i++) {
                for (int32_t y = 0; y < rows; y += 2) {
                    const int32_t high = least(2, rows - y), t = y / 2 * across;
                    const lanes *from = row(n, in, in->values, b, group * inputs,
                                            first + y - l->pad_height) - l->pad_width;
                    const lanes *to = row(n, out, out->gradient, b, group * outputs, first + y);
                    for (int32_t k = 0; k < inputs; k++)
                        transform_inputs(v + k * tiles + t, inputs * tiles,
                                         from + k * channel_step(in), row_step(in), i, high,
                                         out->width);
                    for (int32_t c = 0; c < outputs; c++)
                        transform_gradient(e + c * tiles + t, outputs * tiles,
                                           to + c * channel_step(out), row_step(out), i, high,
                                           out->width);
                }
                for (int32_t j = 0; j < SIDE; j++)
                    add_all_products(sums + (i * SIDE + j) * next + b % PARTS,
                                     e + j * outputs * tiles, v + j * inputs * tiles, outputs,
                                     inputs, tiles);
            }
        }
    for (int64_t k = 0; k < kernels; k++)
        add_kernel(n->gradient + l->weight + (group * kernels + k) * 9, sums + k * PARTS, next);
}

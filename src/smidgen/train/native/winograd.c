/* Convolutions with kernels of 3 × 3 and stride 1, by Winograd's minimal filtering F(2 × 2, 3 × 3) as
   Lavin & Gray (2016) write it: a tile of 4 × 4 inputs gives 2 × 2 outputs by 16 products for each pair
   of channels, where sums over taps take 36. With their matrices A, B and G,

       outputs = Aᵀ (U ∘ V) A,   U = G weights Gᵀ,   V = Bᵀ inputs B,

   where U ∘ V is summed over the input channels. The gradient of the inputs is such a convolution too;
   that of U is the sum over all tiles of (A gradient Aᵀ) ∘ V. A tile at an odd edge has one row or
   column of outputs less, and reads one of inputs less. */

#define SIDE 4             /* of a tile */
#define MOST_KERNELS 65536 /* whose gradients' sums take 64 MB */

typedef struct {
    lanes *out;
    const lanes *in;
    int64_t out_row, out_channel, in_row, in_channel; /* from one to the next */
    int32_t inputs, outputs;                          /* channels */
    const float *weights; /* U: [outputs at once][row][input][one of these outputs][column] */
    const float *bias;
    int32_t add;
} filtering;

/* Whether a convolution is computed in this way: where sides and channels are not too few, nor the
   channels too many. */
static int is_filtered(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    return l->kernel_height == 3 && l->kernel_width == 3 && l->stride_height == 1 &&
           l->stride_width == 1 && inputs >= 4 && outputs >= 4 &&
           (int64_t)inputs * outputs <= MOST_KERNELS && out->height >= 4 && out->width >= 4;
}

/* V of one channel; the tile has `high` rows and `wide` columns of outputs, 1 or 2. */
INLINE void transform_tile(lanes *to, const lanes *in, int64_t row, int32_t high, int32_t wide)
{
    lanes down[SIDE][SIDE];
    UNROLL for (int j = 0; j < SIDE; j++) {
        const lanes *d = in + least(j, wide + 1);
        const lanes last = d[least(3, high + 1) * row];
        down[0][j] = d[0] - d[2 * row];
        down[1][j] = d[row] + d[2 * row];
        down[2][j] = d[2 * row] - d[row];
        down[3][j] = d[row] - last;
        if (j > 1) /* of the next tile */
            UNROLL for (int i = 0; i < SIDE; i++)
                __builtin_prefetch(d + 2 + i * row);
    }
    UNROLL for (int i = 0; i < SIDE; i++, to += SIDE) {
        to[0] = down[i][0] - down[i][2];
        to[1] = down[i][1] + down[i][2];
        to[2] = down[i][2] - down[i][1];
        to[3] = down[i][1] - down[i][3];
    }
}

/* Row i of (U ∘ V) A for `deep` output channels; u is where their weights begin. */
INLINE void filter_across(const int deep, const int i, int32_t inputs, const float *u, const lanes *v,
                          lanes across[MOST_DEEP][2])
{
    lanes sum[MOST_DEEP][SIDE];
    UNROLL for (int d = 0; d < deep; d++)
        UNROLL for (int j = 0; j < SIDE; j++)
            sum[d][j] = (lanes){0};
    u += i * deep * inputs * SIDE;
    v += i * SIDE;
    for (int32_t k = 0; k < inputs; k++, u += deep * SIDE, v += SIDE * SIDE)
        UNROLL for (int j = 0; j < SIDE; j++) {
            lanes value = v[j];
            KEEP_IN_REGISTER(value);
            UNROLL for (int d = 0; d < deep; d++)
                sum[d][j] += u[d * SIDE + j] * value;
        }
    UNROLL for (int d = 0; d < deep; d++) {
        across[d][0] = sum[d][0] + (sum[d][1] + sum[d][2]);
        across[d][1] = (sum[d][1] - sum[d][2]) - sum[d][3];
    }
}

/* A row of outputs: what is there or the bias, and what the tile adds. */
INLINE void put_outputs(const filtering *f, const int deep, int32_t c, lanes *out, int32_t wide,
                        lanes added[MOST_DEEP][2])
{
    UNROLL for (int d = 0; d < deep; d++) {
        lanes *to = out + (c + d) * f->out_channel;
        const lanes start = all(f->bias ? f->bias[c + d] : 0);
        to[0] = (f->add ? to[0] : start) + added[d][0];
        if (wide > 1)
            to[1] = (f->add ? to[1] : start) + added[d][1];
    }
}

/* `deep` output channels of a tile, from c on. */
INLINE void filter(const filtering *f, const int deep, const lanes *v, int32_t c, lanes *out,
                   int32_t high, int32_t wide)
{
    const float *u = f->weights + (int64_t)c * f->inputs * SIDE * SIDE;
    lanes one[MOST_DEEP][2], two[MOST_DEEP][2], edge[MOST_DEEP][2];
    filter_across(deep, 1, f->inputs, u, v, one);
    filter_across(deep, 2, f->inputs, u, v, two);
    filter_across(deep, 0, f->inputs, u, v, edge);
    UNROLL for (int d = 0; d < deep; d++)
        UNROLL for (int x = 0; x < 2; x++) {
            const lanes apart = one[d][x] - two[d][x];
            edge[d][x] += one[d][x] + two[d][x];
            one[d][x] = apart;
        }
    put_outputs(f, deep, c, out, wide, edge);
    if (high < 2)
        return;
    filter_across(deep, 3, f->inputs, u, v, edge);
    UNROLL for (int d = 0; d < deep; d++)
        UNROLL for (int x = 0; x < 2; x++)
            one[d][x] -= edge[d][x];
    put_outputs(f, deep, c, out + f->out_row, wide, one);
}

/* How many output channels are computed at once. */
static int32_t filters_at_once(int32_t outputs) { return part(outputs, MOST_SUMS / 6); }

/* A row of tiles; v is scratch for those of one. */
static void filter_row(const filtering *f, lanes *v, int32_t high, int32_t width)
{
    const int32_t deepest = filters_at_once(f->outputs);
    for (int32_t x = 0; x < width; x += 2) {
        const int32_t wide = least(2, width - x);
        const lanes *in = f->in + x;
        lanes *out = f->out + x;
        for (int32_t k = 0; k < f->inputs; k++, in += f->in_channel)
            if (high == 2 && wide == 2)
                transform_tile(v + k * SIDE * SIDE, in, f->in_row, 2, 2);
            else
                transform_tile(v + k * SIDE * SIDE, in, f->in_row, high, wide);
        for (int32_t c = 0; c < f->outputs; c += deepest)
            switch (least(deepest, f->outputs - c)) {
            case 1: filter(f, 1, v, c, out, high, wide); break;
            case 2: filter(f, 2, v, c, out, high, wide); break;
            case 3: filter(f, 3, v, c, out, high, wide); break;
            case 4: filter(f, 4, v, c, out, high, wide); break;
            }
    }
}

/* A kernel of 3 × 3 whose taps lie `tap` apart, as U: its rows `next` apart. */
static void transform_kernel(float *u, int64_t next, const float *kernel, int32_t tap)
{
    float down[SIDE][3];
    for (int32_t j = 0; j < 3; j++) {
        const float top = kernel[j * tap], middle = kernel[(3 + j) * tap];
        const float bottom = kernel[(6 + j) * tap];
        down[0][j] = top;
        down[1][j] = .5f * (top + bottom + middle);
        down[2][j] = .5f * (top + bottom - middle);
        down[3][j] = bottom;
    }
    for (int32_t i = 0; i < SIDE; i++, u += next) {
        u[0] = down[i][0];
        u[1] = .5f * (down[i][0] + down[i][2] + down[i][1]);
        u[2] = .5f * (down[i][0] + down[i][2] - down[i][1]);
        u[3] = down[i][2];
    }
}

/* Puts U where f reads it. From the kernel of an output channel to the next are `output` numbers, of an
   input channel `input`; where the roles of the two are changed, kernels are turned round. */
static void transform_kernels(const filtering *f, float *u, const float *weight, int64_t output,
                              int64_t input, int is_turned)
{
    const int32_t deepest = filters_at_once(f->outputs);
    for (int32_t first = 0; first < f->outputs; first += deepest) {
        const int32_t deep = least(deepest, f->outputs - first);
        for (int32_t k = 0; k < f->inputs; k++)
            for (int32_t d = 0; d < deep; d++)
                transform_kernel(u + (k * deep + d) * SIDE, (int64_t)f->inputs * deep * SIDE,
                                 weight + (first + d) * output + k * input + (is_turned ? 8 : 0),
                                 is_turned ? -1 : 1);
        u += (int64_t)f->inputs * deep * SIDE * SIDE;
    }
}

static void winograd_forward(const network *n, const instruction *l, int32_t group)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    const int32_t first = group * outputs;
    filtering f = {
        .out_row = row_step(out), .out_channel = channel_step(out), .in_row = row_step(in),
        .in_channel = channel_step(in), .inputs = inputs, .outputs = outputs, .weights = n->packed,
        .bias = l->bias < 0 ? 0 : n->parameters + l->bias + first};
    transform_kernels(&f, n->packed, n->parameters + l->weight + (int64_t)first * inputs * 9,
                      inputs * 9, 9, 0);
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < out->height; y += 2) {
            const int32_t high = least(2, out->height - y);
            f.out = row(n, out, out->values, b, first, y);
            f.in = row(n, in, in->values, b, group * inputs, y - l->pad_height) - l->pad_width;
            filter_row(&f, n->tiles, high, out->width);
            for (int32_t i = 0; has_norm(n, l) && i < high; i++)
                add_moments(n, l + 1, first, outputs, b, y + i);
        }
}

static void winograd_input_backward(const network *n, const instruction *l, int32_t group)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    filtering f = {
        .out_row = row_step(in), .out_channel = channel_step(in), .in_row = row_step(out),
        .in_channel = channel_step(out), .inputs = outputs, .outputs = inputs,
        .weights = n->packed, .add = l->add_source};
    transform_kernels(&f, n->packed,
                      n->parameters + l->weight + (int64_t)group * outputs * inputs * 9, 9,
                      inputs * 9, 1);
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < in->height; y += 2) {
            f.out = row(n, in, in->gradient, b, group * inputs, y);
            f.in = row(n, out, out->gradient, b, group * outputs, y - (2 - l->pad_height)) -
                   (2 - l->pad_width);
            filter_row(&f, n->tiles, least(2, in->height - y), in->width);
        }
}

/* Depthwise convolutions of stride 1 with kernels of 3 × 3 and 5 × 5: each channel has a kernel of its
   own. A value is loaded once for several columns, since a load costs as much as a multiply-add. */

static int is_depthwise(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    return l->groups > 1 && l->groups == in->channels && l->groups == out->channels &&
           l->stride_height == 1 && l->stride_width == 1 && l->kernel_height == l->kernel_width &&
           (l->kernel_height == 3 || l->kernel_height == 5);
}

/* `wide` outputs of one channel; `in` is where the first tap meets the first of them. */
INLINE void depthwise_sums(const int side, const int wide, lanes *out, const lanes *in, int64_t row,
                           const lanes *weight, float bias, int32_t add)
{
    lanes sum[MOST_WIDE];
    UNROLL for (int k = 0; k < wide; k++)
        sum[k] = add ? out[k] : all(bias);
    UNROLL for (int i = 0; i < side; i++)
        UNROLL for (int j = 0; j < side; j++)
            UNROLL for (int k = 0; k < wide; k++)
                sum[k] += weight[i * side + j] * in[i * row + j + k];
    UNROLL for (int k = 0; k < wide; k++)
        out[k] = sum[k];
}

/* `width` outputs of one channel. */
INLINE void depthwise_row(const int side, lanes *out, const lanes *in, int64_t row,
                          const float *weights, float bias, int32_t width, int32_t add)
{
    lanes weight[25];
    UNROLL for (int t = 0; t < side * side; t++)
        weight[t] = all(weights[t]);
    int32_t x = 0;
    for (; x + 4 <= width; x += 4)
        depthwise_sums(side, 4, out + x, in + x, row, weight, bias, add);
    for (; x < width; x++)
        depthwise_sums(side, 1, out + x, in + x, row, weight, bias, add);
}

/* Adds the part of one row to the gradient of a channel's weights, of which every PARTS-th sum is. */
INLINE void depthwise_products(const int side, const lanes *out, const lanes *in, int64_t row,
                               lanes *sums, int32_t width)
{
    lanes sum[25];
    UNROLL for (int t = 0; t < side * side; t++)
        sum[t] = sums[t * PARTS];
    int32_t x = 0;
    for (; x + 4 <= width; x += 4)
        UNROLL for (int i = 0; i < side; i++)
            UNROLL for (int j = 0; j < side; j++)
                UNROLL for (int k = 0; k < 4; k++)
                    sum[i * side + j] += out[x + k] * in[i * row + x + j + k];
    for (; x < width; x++)
        UNROLL for (int i = 0; i < side; i++)
            UNROLL for (int j = 0; j < side; j++)
                sum[i * side + j] += out[x] * in[i * row + x + j];
    UNROLL for (int t = 0; t < side * side; t++)
        sums[t * PARTS] = sum[t];
}

/* Calls a function with the kernel's side, a constant. */
#define SIDED(function, l, ...)                                                                    \
    do {                                                                                           \
        if ((l)->kernel_height == 3)                                                               \
            function(3, __VA_ARGS__);                                                              \
        else                                                                                       \
            function(5, __VA_ARGS__);                                                              \
    } while (0)

static void depthwise_forward(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t taps = l->kernel_height * l->kernel_width;
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < out->height; y++) {
            for (int32_t c = 0; c < out->channels; c++) {
                const lanes *from = row(n, in, in->values, b, c, y - l->pad_height) - l->pad_width;
                const float bias = l->bias < 0 ? 0 : n->parameters[l->bias + c];
                SIDED(depthwise_row, l, row(n, out, out->values, b, c, y), from, row_step(in),
                      n->parameters + l->weight + c * taps, bias, out->width, 0);
            }
            if (has_norm(n, l))
                add_moments(n, l + 1, 0, out->channels, b, y);
        }
}

/* The inputs' gradient is a convolution of the outputs' with the kernel turned round. */
static void depthwise_input_backward(const network *n, const instruction *l, int32_t b, int32_t y)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t taps = l->kernel_height * l->kernel_width;
    const int32_t before = l->kernel_width - 1 - l->pad_width;
    for (int32_t c = 0; c < in->channels; c++) {
        const lanes *from =
            row(n, out, out->gradient, b, c, y - (l->kernel_height - 1 - l->pad_height)) - before;
        SIDED(depthwise_row, l, row(n, in, in->gradient, b, c, y), from, row_step(out),
              n->packed + c * taps, 0, in->width, l->add_source);
    }
}

static void depthwise_backward(const network *n, const instruction *l)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t taps = l->kernel_height * l->kernel_width, all_taps = in->channels * taps;
    memset(n->sums, 0, sizeof(lanes) * PARTS * (size_t)all_taps);
    for (int32_t c = 0; c < in->channels; c++)
        for (int32_t t = 0; t < taps; t++)
            n->packed[c * taps + t] = n->parameters[l->weight + c * taps + taps - 1 - t];
    for (int32_t b = 0; b < blocks(n); b++) {
        for (int32_t y = 0; y < out->height; y++)
            for (int32_t c = 0; c < out->channels; c++) {
                const lanes *from = row(n, in, in->values, b, c, y - l->pad_height) - l->pad_width;
                SIDED(depthwise_products, l, row(n, out, out->gradient, b, c, y), from,
                      row_step(in), n->sums + c * taps * PARTS + b % PARTS, out->width);
            }
        for (int32_t y = 0; y < in->height && in->gradient >= 0; y++)
            depthwise_input_backward(n, l, b, y);
    }
    for (int32_t t = 0; t < all_taps; t++)
        n->gradient[l->weight + t] += total(&n->sums[t * PARTS]);
}

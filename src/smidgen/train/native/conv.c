/* Convolutions and linear layers. Both are sums over taps: an output is the sum over t of weight[t]
   times the input that lies input_offsets[t] away; and so is their gradient, with the roles of
   inputs and outputs changed. */

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

static void group_forward(const network *n, const instruction *l, int32_t group)
{
    const feature_map *in = &n->map[l->source], *out = &n->map[l->output];
    const int32_t inputs = in->channels / l->groups, outputs = out->channels / l->groups;
    const int32_t taps = inputs * l->kernel_height * l->kernel_width, first = group * outputs;
    const float *weight = n->parameters + l->weight + (int64_t)first * taps;
    taps_of(in, inputs, l->kernel_height, l->kernel_width, n->input_offsets);
    planes_of(out, outputs, n->output_offsets);
    for (int32_t c = 0; c < outputs; c++)
        for (int32_t t = 0; t < taps; t++)
            n->packed[t * outputs + c] = weight[c * taps + t];
    product p = {
        .output_offsets = n->output_offsets, .input_offsets = n->input_offsets,
        .step = l->stride_width, .out_step = 1, .weights = n->packed, .taps = taps,
        .channels = outputs, .bias = l->bias < 0 ? 0 : n->parameters + l->bias + first};
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < out->height; y++) {
            p.out = row(n, out, out->values, b, first, y);
            p.in = row(n, in, in->values, b, group * inputs, y * l->stride_height - l->pad_height) -
                   l->pad_width;
            multiply(&p, out->width);
            if (has_norm(n, l))
                add_moments(n, l + 1, first, outputs, b, y);
        }
}

static void convolution_forward(const network *n, const instruction *l)
{
    for (int32_t g = 0; g < l->groups; g++)
        (is_filtered(n, l) ? winograd_forward : group_forward)(n, l, g);
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
    const int filtered = is_filtered(n, l);
    for (int32_t g = 0; g < l->groups; g++) {
        (filtered ? winograd_weight_backward : weight_backward)(n, l, g);
        if (in->gradient < 0)
            continue;
        if (filtered)
            winograd_input_backward(n, l, g);
        for (int32_t y = 0; !filtered && y < least(l->stride_height, in->height); y++)
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

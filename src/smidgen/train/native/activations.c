/* Functions of one number, and their gradients. A new one is a name in ACTIVATIONS, with the number
   of its settings in the order of torch's arguments, and a case in each of the two rows. */

enum { RELU, LEAKY_RELU, CLAMP, HARD_SWISH, HARD_SIGMOID, SIGMOID };

static const struct {
    const char *name; /* in the vocabulary of operations */
    int32_t settings;
} ACTIVATIONS[] = {
    [RELU] = {"relu", 0},
    [LEAKY_RELU] = {"leaky_relu", 1},
    [CLAMP] = {"hardtanh", 2},
    [HARD_SWISH] = {"hardswish", 0},
    [HARD_SIGMOID] = {"hardsigmoid", 0},
    [SIGMOID] = {"sigmoid", 0},
};

/* Its place in the list; -1 where the kernels have no such function with so many settings. */
int32_t smidgen_activation(const char *name, int32_t settings)
{
    for (int32_t i = 0; i < (int32_t)(sizeof ACTIVATIONS / sizeof *ACTIVATIONS); i++)
        if (!strcmp(ACTIVATIONS[i].name, name) && ACTIVATIONS[i].settings == settings)
            return i;
    return -1;
}

#define CASE(function, result)                                                                     \
    case function:                                                                                 \
        for (int32_t x = 0; x < width; x++) {                                                      \
            const lanes v = in[x];                                                                 \
            put(&out[x], result, add);                                                             \
        }                                                                                          \
        break;

static lanes clamped(lanes v, float low, float high)
{
    return where(~((v < low) | (v > high)), v) + where(v < low, all(low)) +
           where(v > high, all(high));
}

/* e to the power of v, to two units in the last place: 2^n times a Taylor series within half an
   octave. Vectors of plain arithmetic, so that it is the same whatever the C library is. */
static lanes exponential(lanes v)
{
    v = clamped(v, -87, 87);
    const choice n = __builtin_convertvector(v * 1.44269504f + where(v > 0, all(1)) - .5f, choice);
    const lanes whole = __builtin_convertvector(n, lanes);
    const lanes r = v - whole * .693359375f + whole * 2.12194440e-4f; /* ln 2 in two parts */
    lanes sum = all(1 / 5040.f);
    sum = sum * r + 1 / 720.f;
    sum = sum * r + 1 / 120.f;
    sum = sum * r + 1 / 24.f;
    sum = sum * r + 1 / 6.f;
    sum = sum * r + .5f;
    sum = (sum * r + 1) * r + 1;
    return sum * (lanes)((n + 127) << 23);
}

static lanes logistic(lanes v) { return 1 / (1 + exponential(-v)); }

static void activate_row(const instruction *l, const lanes *in, lanes *out, int32_t width)
{
    const float a = l->setting[0], b = l->setting[1];
    const int32_t add = 0;
    switch (l->function) {
        CASE(RELU, where(~(v < 0), v))
        CASE(LEAKY_RELU, where(~(v < 0), v) + where(v < 0, v * a))
        CASE(CLAMP, clamped(v, a, b))
        CASE(HARD_SWISH, v * clamped(v + 3, 0, 6) / 6)
        CASE(HARD_SIGMOID, clamped(v + 3, 0, 6) / 6)
        CASE(SIGMOID, logistic(v))
    }
}

/* `in` are the values, g the gradient after the function. */
#define SLOPE(function, result) CASE(function, ({ const lanes g = gradient[x]; result; }))

static void activate_row_backward(const instruction *l, const lanes *in, const lanes *gradient,
                                  lanes *out, int32_t width, int32_t add)
{
    const float a = l->setting[0], b = l->setting[1];
    switch (l->function) {
        SLOPE(RELU, where(v > 0, g))
        SLOPE(LEAKY_RELU, where(v > 0, g) + where(~(v > 0), g * a))
        SLOPE(CLAMP, where((v > a) & (v < b), g))
        SLOPE(HARD_SWISH, where(v > 3, g) + where(~((v < -3) | (v > 3)), g * (v / 3 + .5f)))
        SLOPE(HARD_SIGMOID, where((v > -3) & (v < 3), g / 6))
        SLOPE(SIGMOID, g * logistic(v) * (1 - logistic(v)))
    }
}

static void activation_forward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < t->height; y++)
            for (int32_t c = 0; c < t->channels; c++)
                activate_row(l, row(n, t, t->values, b, c, y), row(n, o, o->values, b, c, y),
                             t->width);
}

static void activation_backward(const network *n, const instruction *l)
{
    const feature_map *t = &n->map[l->source], *o = &n->map[l->output];
    for (int32_t b = 0; b < blocks(n); b++)
        for (int32_t y = 0; y < t->height; y++)
            for (int32_t c = 0; c < t->channels; c++)
                activate_row_backward(l, row(n, t, t->values, b, c, y),
                                      row(n, o, o->gradient, b, c, y),
                                      row(n, t, t->gradient, b, c, y), t->width, l->add_source);
}

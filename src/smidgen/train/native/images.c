/* Images into lanes: turned, shifted and enlarged as an affine matrix says, and normalised. */

static float within(float value, float least, float most)
{
    value = value > least ? value : least;
    return value < most ? value : most;
}

/* Writes (N, H, W) grey levels to the first tensor, each with its own matrix (N, 2, 3), which
   takes output to input coordinates, both from -1 to 1. Bilinear; outside the image all is 0. */
void smidgen_turn_images(const network *n, const uint8_t *images, const float *matrices, float mean,
                         float deviation)
{
    const tensor *t = n->tensor;
    const int32_t high = t->height, wide = t->width, step = wide + 3;
    const float half_high = (float)high / 2, half_wide = (float)wide / 2;
    const float scale = 1 / (255 * deviation), offset = mean / deviation;
    float framed[(high + 3) * step]; /* one column and row of 0 before the image, two after it */
    memset(framed, 0, sizeof framed);
    for (int32_t i = 0; i < n->images; i++, images += high * wide, matrices += 6) {
        for (int32_t y = 0; y < high; y++)
            for (int32_t x = 0; x < wide; x++)
                framed[(y + 1) * step + x + 1] = images[y * wide + x] * scale;
        for (int32_t y = 0; y < high; y++) {
            const float v = (float)(2 * y + 1) / (float)high - 1;
            const float right = matrices[0], down = matrices[3] * half_high / half_wide;
            const float from_x = (matrices[1] * v + matrices[2] - right + 1) * half_wide;
            const float from_y = (matrices[4] * v + matrices[5] - matrices[3] + 1) * half_high;
            float *out = (float *)row(n, t, t->values, i / LANES, 0, y) + i % LANES;
            for (int32_t x = 0; x < wide; x++) {
                const float column = (float)x + .5f;
                const float at_x = within(from_x + right * column + .5f, 0, (float)wide + 1);
                const float at_y = within(from_y + down * column + .5f, 0, (float)high + 1);
                const int32_t left = (int32_t)at_x, top = (int32_t)at_y;
                const float a = at_x - (float)left, b = at_y - (float)top;
                const float *pixel = framed + top * step + left;
                const float above = pixel[0] + a * (pixel[1] - pixel[0]);
                const float below = pixel[step] + a * (pixel[step + 1] - pixel[step]);
                out[(int64_t)x * LANES] = above + b * (below - above) - offset;
            }
        }
    }
}

/* Writes (N, H, W) grey levels to the first tensor as they are. */
void smidgen_take_images(const network *n, const float *images, float mean, float deviation)
{
    const tensor *t = n->tensor;
    const float scale = 1 / (255 * deviation), offset = mean / deviation;
    for (int32_t i = 0; i < n->images; i++)
        for (int32_t y = 0; y < t->height; y++) {
            float *out = (float *)row(n, t, t->values, i / LANES, 0, y) + i % LANES;
            for (int32_t x = 0; x < t->width; x++)
                out[(int64_t)x * LANES] = *images++ * scale - offset;
        }
}

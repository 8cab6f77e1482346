/* Images into lanes: turned, bent and blanked as augment/geometry.py draws it, and normalised. */

#define MOST_COARSE 8

static float within(float value, float least, float most)
{
    value = value > least ? value : least;
    return value < most ? value : most;
}

static const float AS_IT_IS[6] = {1, 0, 0, 0, 1, 0};

/* Row y of image i; `framed` is the image scaled, each channel with one row and column of 0 before it
   and two after it. Bilinear; all that lies outside the image is 0. */
static void read_row(const network *n, const float *framed, int32_t i, int32_t y)
{
    const feature_map *t = n->map;
    const int32_t high = t->height, wide = t->width, step = wide + 3, coarse = n->coarse;
    const float *m = n->matrices ? n->matrices + 6 * i : AS_IT_IS;
    const float half_high = (float)high / 2, half_wide = (float)wide / 2;
    const float from_middle = (float)y + .5f - half_high;
    const float from_x = m[1] * from_middle * half_wide / half_high + (m[2] - m[0] + 1) * half_wide;
    const float from_y = m[4] * from_middle + (m[5] - m[3] + 1) * half_high;
    const float down = m[3] * half_high / half_wide;

    float bend[2][MOST_COARSE] = {{0}}; /* the fields at this row */
    for (int32_t axis = 0; n->fields && axis < 2; axis++)
        for (int32_t k = 0; k < coarse; k++)
            for (int32_t j = 0; j < coarse; j++)
                bend[axis][j] += n->spread_down[y * coarse + k] * n->elastic *
                                 n->fields[((2 * i + axis) * coarse + k) * coarse + j];

    float level[t->channels][wide];
    for (int32_t x = 0; x < wide; x++) {
        float at_x = from_x + m[0] * ((float)x + .5f) + .5f;
        float at_y = from_y + down * ((float)x + .5f) + .5f;
        for (int32_t j = 0; n->fields && j < coarse; j++) {
            at_x += bend[0][j] * n->spread_across[x * coarse + j];
            at_y += bend[1][j] * n->spread_across[x * coarse + j];
        }
        at_x = within(at_x, 0, (float)wide + 1);
        at_y = within(at_y, 0, (float)high + 1);
        const int32_t left = (int32_t)at_x, top = (int32_t)at_y;
        const float a = at_x - (float)left, b = at_y - (float)top;
        const float *pixel = framed + top * step + left;
        for (int32_t c = 0; c < t->channels; c++, pixel += (high + 3) * step) {
            const float above = pixel[0] + a * (pixel[1] - pixel[0]);
            const float below = pixel[step] + a * (pixel[step + 1] - pixel[step]);
            level[c][x] = above + b * (below - above);
        }
    }
    if (n->corners) {
        const float size = (float)n->cutout;
        const float top = n->corners[2 * i] * ((float)high + size) - size;
        const float left = n->corners[2 * i + 1] * ((float)wide + size) - size;
        for (int32_t x = 0; (float)y >= top && (float)y < top + size && x < wide; x++)
            for (int32_t c = 0; (float)x >= left && (float)x < left + size && c < t->channels; c++)
                level[c][x] = 0;
    }
    for (int32_t c = 0; c < t->channels; c++) {
        float *out = (float *)row(n, t, t->values, i / LANES, c, y) + i % LANES;
        for (int32_t x = 0; x < wide; x++)
            out[(int64_t)x * LANES] = level[c][x] - n->mean[c] / n->deviation[c];
    }
}

/* Fills the first tensor. */
static void read_images(const network *n)
{
    const int32_t high = n->map->height, wide = n->map->width, channels = n->map->channels;
    const uint8_t *pixel = n->pixels;
    float framed[channels][high + 3][wide + 3];
    memset(framed, 0, sizeof framed);
    for (int32_t i = 0; i < n->images; i++) {
        for (int32_t c = 0; c < channels; c++)
            for (int32_t y = 0; y < high; y++)
                for (int32_t x = 0; x < wide; x++)
                    framed[c][y + 1][x + 1] = *pixel++ / (255 * n->deviation[c]);
        for (int32_t y = 0; y < high; y++)
            read_row(n, &framed[0][0][0], i, y);
    }
}

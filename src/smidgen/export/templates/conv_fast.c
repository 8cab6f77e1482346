#if FAST
#include <string.h>

/* A row of a convolution is made at once: `windows` is what lies under the kernel at each column,
 * filled up with zeros to whole vectors; `products` are the sums for each column and channel. Both
 * are rounded up so that vectors may reach past the last column and the last channel. */
#define ROUND_UP(number, unit) (((number) + (unit) - 1) / (unit) * (unit))
static uint8_t windows[$windows];

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#include <immintrin.h>
enum { TAPS = 4, CHANNELS = 8, COLUMNS = 7 };

/* Weights in the order of (taps / 4, channels, 4): one instruction multiplies four taps of eight
 * channels. They are put in this order when they are first used. */
static int8_t woven[$woven];
static const int woven_at[$layers] = {$woven_at}; /* by layer */
static uint8_t is_woven[$layers];

static void weave(int8_t *to, const int8_t *from, int channels, int taps)
{
    for (int o = 0; o < channels; o++) {
        for (int i = 0; i < taps; i++) {
            to[(i / 4 * ROUND_UP(channels, CHANNELS) + o) * 4 + i % 4] = *from++;
        }
    }
}

FUNCTION void multiply(
    const struct layer *layer, int columns, int channels, int taps, int32_t *products)
{
    const int length = ROUND_UP(taps, TAPS);
    const int stride = ROUND_UP(channels, CHANNELS);
    int8_t *weaving = woven + woven_at[layer - layers];
    if (!is_woven[layer - layers]) {
        is_woven[layer - layers] = 1;
        weave(weaving, weights + layer->weight, channels, taps);
    }
    for (int o = 0; o < channels; o += CHANNELS) {
        for (int x = 0; x < columns; x += COLUMNS) {
            __m256i acc[COLUMNS];
            for (int i = 0; i < COLUMNS; i++) {
                acc[i] = _mm256_setzero_si256();
            }
            for (int k = 0; k < length; k += 4) {
                const void *eight = weaving + k * stride + o * 4;
                const __m256i weight = _mm256_loadu_si256(eight);
                for (int i = 0; i < COLUMNS; i++) {
                    int32_t four;
                    memcpy(&four, windows + (x + i) * length + k, 4);
                    acc[i] = _mm256_dpbusd_epi32(acc[i], _mm256_set1_epi32(four), weight);
                }
            }
            for (int i = 0; i < COLUMNS; i++) {
                void *to = products + (x + i) * stride + o;
                _mm256_storeu_si256(to, acc[i]);
            }
        }
    }
}
#else
enum { TAPS = SLACK, CHANNELS = 1, COLUMNS = 1 };

FUNCTION void multiply(
    const struct layer *layer, int columns, int channels, int taps, int32_t *products)
{
    const int length = ROUND_UP(taps, TAPS);
    for (int o = 0; o < channels; o++) {
        for (int x = 0; x < columns; x++) {
            int32_t acc = 0;
            for (int i = 0; i < length; i++) {
                acc += windows[x * length + i] * weights[layer->weight + o * taps + i];
            }
            products[x * channels + o] = acc;
        }
    }
}
#endif

FUNCTION void fill_windows(const struct layer *layer, const uint8_t *const *rows, int columns)
{
    const int span = layer->kernel_width * layer->depth;
    const int length = ROUND_UP(layer->kernel_height * span, TAPS);
    const int margin = layer->padding_x * layer->depth;
    const int bytes = tensors[layer->input].width * layer->depth;
    uint8_t line[$line]; /* a row of the input with its margins */
    memset(line, layer->outside, (size_t)margin);
    memset(line + margin + bytes, layer->outside, (size_t)margin);
    memset(windows, 0, (size_t)(columns * length));
    for (int ky = 0; ky < layer->kernel_height; ky++) {
        if (rows[ky]) {
            memcpy(line + margin, rows[ky], (size_t)bytes);
        } else {
            memset(line + margin, layer->outside, (size_t)bytes);
        }
        for (int x = 0; x < columns; x++) {
            const uint8_t *from = line + x * layer->part_stride * layer->depth;
            memcpy(windows + x * length + ky * span, from, (size_t)span);
        }
    }
}

FUNCTION void conv_row(const struct layer *layer, const struct view *view, uint8_t *out)
{
    const int width = tensors[layer->output].width;
    const int channels = tensors[layer->output].channels;
    const int stride = ROUND_UP(channels, CHANNELS);
    const int columns = width * layer->parts;
    int32_t products[$products];
    uint8_t values[$products];
    fill_windows(layer, view->rows, columns);
    multiply(layer, columns, channels, layer->kernel_height * layer->kernel_width * layer->depth,
             products);
    if (layer->output == LOGITS) {
        for (int o = 0; o < channels; o++) {
            logits_out[o] = rescale(layer, products[o] * multipliers[layer->multiplier + o], o);
        }
        return;
    }
    const int is_pooled = layer->steps * layer->parts > 1;
    const int pixel = is_pooled ? stride : channels;
    uint8_t *to = is_pooled ? values : out;
    for (int x = 0; x < columns; x++) {
        for (int o = 0; o < channels; o++) {
            const int32_t product = products[x * stride + o] * multipliers[layer->multiplier + o];
            to[x * pixel + o] = clamp(rescale(layer, product, o));
        }
    }
    if (!is_pooled) {
        return;
    }
    if (view->is_first) {
        memset(out, 0, (size_t)(width * channels));
    }
    for (int x = 0; x < width; x++, out += channels) {
        for (int part = 0; part < layer->parts; part++) {
            for (int o = 0; o < channels; o++) {
                const uint8_t value = values[(x * layer->parts + part) * stride + o];
                out[o] = value > out[o] ? value : out[o];
            }
        }
    }
}
#endif

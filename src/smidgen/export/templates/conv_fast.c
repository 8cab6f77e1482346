#if FAST
#include <string.h>

/* A convolution computes a whole row, at each column LANES channels together, in steps of TAPS
 * products for each of them. The rows under the kernel are copied to `lines`, with their padding.
 * In a depthwise convolution, where every channel has an input of its own, a step takes TAPS rows,
 * which are interleaved in a line; else it takes TAPS neighbours in a row, the same for all
 * channels. Groups of several channels have weights of zero for the other groups' inputs. */
#define ROUND_UP(number, unit) (((number) + (unit) - 1) / (unit) * (unit))

#if defined(__AVX512VNNI__)
#include <immintrin.h>
enum { LANES = 16, TAPS = 4, COLUMNS = 10 };
typedef int8_t factor;
typedef __m512i lanes;

FUNCTION void multiply_add(lanes *acc, const uint8_t *x, int is_depthwise, const factor *weight)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    const __m512i inputs = is_depthwise ? _mm512_loadu_si512(x) : _mm512_set1_epi32(four);
    *acc = _mm512_dpbusd_epi32(*acc, inputs, _mm512_loadu_si512(weight));
}
#elif defined(__AVX2__)
#include <immintrin.h>
enum { LANES = 8, TAPS = 2, COLUMNS = 7 };
typedef int16_t factor;
typedef __m256i lanes;

FUNCTION void multiply_add(lanes *acc, const uint8_t *x, int is_depthwise, const factor *weight)
{
    const __m256i inputs = is_depthwise ? _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)x))
                                        : _mm256_set1_epi32(x[0] | x[1] << 16);
    const __m256i pairs = _mm256_madd_epi16(inputs, _mm256_loadu_si256((const void *)weight));
    *acc = _mm256_add_epi32(*acc, pairs);
}
#else
enum { LANES = 16, TAPS = 1, COLUMNS = 1 };
typedef int16_t factor; /* a product fits in it, too */
typedef int32_t lanes[LANES];

FUNCTION void multiply_add(lanes *acc, const uint8_t *x, int is_depthwise, const factor *weight)
{
#pragma GCC unroll 1 /* or gcc would not make vectors of it */
    for (int i = 0; i < LANES; i++) {
        (*acc)[i] += (int16_t)(x[is_depthwise ? i : 0] * weight[i]);
    }
}
#endif

static uint8_t lines[$lines];
static uint8_t padding_row[$padding_row]; /* a row outside the input */
static int32_t products[$products];       /* by column and channel */
static uint8_t values[$products];         /* the products, rescaled */

/* Weights in the order of (steps, channels, TAPS), and the numbers that rescale the products. They
 * are reordered, and filled up with zeros to whole vectors, when they are first used. */
static factor reordered[$reordered];
static int32_t reordered_multipliers[$lanes], reordered_biases[$lanes];
static const struct {
    int weight, lane;
} reordered_at[$layers] = {
$reordered_at
};
static uint8_t is_reordered[$layers];

/* Where in `lines` a sum finds its inputs: `steps` in each of `count` lines, the distances in
 * bytes. */
struct window {
    int is_depthwise, interleaved, count, line, steps, step, column;
};

FUNCTION struct window window_of(const struct layer *layer)
{
    const struct tensor *input = &tensors[layer->input];
    const int is_depthwise = layer->depth == 1 && layer->per_group == 1 && input->channels > 1;
    const int interleaved = is_depthwise ? TAPS : 1;
    const int pixel = input->channels * interleaved;
    const struct window window = {
        .is_depthwise = is_depthwise,
        .interleaved = interleaved,
        .count = ROUND_UP(layer->kernel_height, interleaved) / interleaved,
        .line = (input->width + 2 * layer->padding_x) * pixel,
        .steps = is_depthwise ? layer->kernel_width
                              : ROUND_UP(layer->kernel_width * input->channels, TAPS) / TAPS,
        .step = is_depthwise ? pixel : TAPS,
        .column = layer->part_stride * pixel,
    };
    return window;
}

static __attribute__((noinline)) void reorder(const struct layer *layer)
{
    const struct window window = window_of(layer);
    const int inputs = tensors[layer->input].channels;
    const int channels = tensors[layer->output].channels;
    const int taps = layer->kernel_height * layer->kernel_width * layer->depth;
    const int8_t *from = weights + layer->weight;
    factor *to = reordered + reordered_at[layer - layers].weight;
    for (int o = 0; o < channels; o++, from += (taps * layer->bits + 7) / 8) {
        for (int tap = 0; tap < taps; tap++) {
            const int ky = tap / layer->depth / layer->kernel_width;
            const int kx = tap / layer->depth % layer->kernel_width;
            const int i = o / layer->per_group * layer->depth + tap % layer->depth;
            const int at = window.is_depthwise ? kx * TAPS + ky % TAPS : kx * inputs + i;
            const int step = ky / window.interleaved * window.steps + at / TAPS;
            to[(step * ROUND_UP(channels, LANES) + o) * TAPS + at % TAPS] =
                (factor)unpack(from, tap, layer->bits);
        }
        const int lane = reordered_at[layer - layers].lane + o;
        const int32_t bias = biases[layer->bias + o * layer->bias_stride];
        reordered_multipliers[lane] = multipliers[layer->multiplier + o];
        reordered_biases[lane] = bias * (1 << layer->bias_shift);
    }
    is_reordered[layer - layers] = 1;
}

FUNCTION void fill_lines(const struct layer *layer, const uint8_t *const *rows)
{
    const struct window window = window_of(layer);
    const int bytes = tensors[layer->input].width * tensors[layer->input].channels;
    const int margin = (window.line - bytes * window.interleaved) / 2;
    uint8_t *to = lines;
    for (int y = 0; y < layer->kernel_height; y += window.interleaved) {
        const uint8_t *from[TAPS];
        for (int t = 0; t < window.interleaved; t++) {
            from[t] = y + t < layer->kernel_height ? rows[y + t] : rows[y];
            if (!from[t]) {
                from[t] = memset(padding_row, layer->outside, (size_t)bytes);
            }
        }
        memset(to, layer->outside, (size_t)margin);
        to += margin;
        for (int i = 0; i < bytes; i++) {
            for (int t = 0; t < window.interleaved; t++) {
                *to++ = from[t][i];
            }
        }
        memset(to, layer->outside, (size_t)margin);
        to += margin;
    }
}

FUNCTION void multiply(const struct layer *layer, int columns, int stride)
{
    const struct window window = window_of(layer);
    const int blocks = ROUND_UP(columns, COLUMNS) / COLUMNS;
    const int block = ROUND_UP(columns, blocks) / blocks;
    for (int b = 0; b < blocks; b++) {
        const int x = b + 1 < blocks ? b * block : columns - block; /* they may overlap */
        for (int o = 0; o < stride; o += LANES) {
            const factor *weight = reordered + reordered_at[layer - layers].weight + o * TAPS;
            lanes acc[COLUMNS] = {{0}};
            for (int y = 0; y < window.count; y++) {
                const uint8_t *from = lines + y * window.line + x * window.column;
                from += window.is_depthwise ? o * TAPS : 0;
                for (int k = 0; k < window.steps; k++) {
                    for (int i = 0; i < block; i++) {
                        const uint8_t *at = from + i * window.column;
                        multiply_add(&acc[i], at, window.is_depthwise, weight);
                    }
                    from += window.step;
                    weight += stride * TAPS;
                }
            }
            for (int i = 0; i < block; i++) {
                memcpy(products + (x + i) * stride + o, &acc[i], sizeof *acc);
            }
        }
    }
}

FUNCTION void rescale_row(
    const struct layer *layer, const struct view *view, int stride, uint8_t *out)
{
    const int width = tensors[layer->output].width;
    const int channels = tensors[layer->output].channels;
    const int32_t *multiplier = reordered_multipliers + reordered_at[layer - layers].lane;
    const int32_t *bias = reordered_biases + reordered_at[layer - layers].lane;
    if (layer->output == LOGITS) {
        for (int o = 0; o < channels; o++) {
            logits_out[o] = (products[o] * multiplier[o] + bias[o]) >> layer->shift;
        }
        return;
    }
    for (int x = 0; x < width; x++) {
        for (int o = 0; o < stride; o++) {
            int32_t largest = 0;
            for (int part = 0; part < layer->parts; part++) {
                const int32_t product = products[(x * layer->parts + part) * stride + o];
                const int32_t value = (product * multiplier[o] + bias[o]) >> layer->shift;
                largest = value > largest ? value : largest;
            }
            products[x * stride + o] = largest > 255 ? 255 : largest;
        }
    }
    for (int i = 0; i < width * stride; i++) {
        values[i] = (uint8_t)products[i];
    }
    for (int x = 0; x < width && !view->is_first; x++) {
        for (int o = 0; o < channels; o++) {
            const uint8_t before = out[x * channels + o];
            uint8_t *value = values + x * stride + o;
            *value = *value > before ? *value : before;
        }
    }
    for (int x = 0; x < width; x++) {
        memcpy(out + x * channels, values + x * stride, (size_t)channels);
    }
}

FUNCTION void conv_row(const struct layer *layer, const struct view *view, uint8_t *out)
{
    const int stride = ROUND_UP(tensors[layer->output].channels, LANES);
    if (!is_reordered[layer - layers]) {
        reorder(layer);
    }
    fill_lines(layer, view->rows);
    multiply(layer, tensors[layer->output].width * layer->parts, stride);
    rescale_row(layer, view, stride, out);
}
#endif

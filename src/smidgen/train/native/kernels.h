/* What the kernels' files share: networks, feature maps, and where their values lie. */

#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define LANES 16
#define MOST_SUMS 24 /* sums that fit in registers beside what they are made of */
/* Else the compiler loads a value again for each product that it is in. */
#define KEEP_IN_REGISTER(value) __asm__("" : "+v"(value))
#else
#define LANES 8
#define MOST_SUMS 12
#define KEEP_IN_REGISTER(value) /* there is none left */
#endif
#define GROUP 16 /* images whose numbers are added first: no result depends on LANES */
#define PARTS (GROUP / LANES)
#define MOST_WIDE 7
#define MOST_DEEP 4
#define AT_ONCE 64 /* places whose values stay in the cache while weights meet them */

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t choice __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));

enum operation {
    CONVOLUTION, LINEAR, BATCH_NORM, /* what has weights */
    ACTIVATION, MAX_POOL, AVERAGE_POOL, ADD, MULTIPLY, CONCATENATION, DROPOUT
};

typedef struct {
    int32_t channels, height, width, padding;
    int64_t values, gradient; /* places in the arena; a gradient of -1 is not wanted */
} feature_map;

typedef struct {
    int32_t operation, source, other, output;     /* feature maps; other: the second operand, or
                                                     what BATCH_NORM adds to its result, or -1 */
    int32_t has_relu;                             /* a (leaky) ReLU ends it */
    int32_t add_source, add_other;                /* a gradient is there already */
    int32_t kernel_height, kernel_width, stride_height, stride_width, groups;
    int32_t pad_height, pad_width;
    int32_t weight, bias, statistics;             /* places; -1: none */
    int32_t saved;                                /* BATCH_NORM: mean, 1 / deviation, by channel */
    int32_t function;                             /* ACTIVATION: its place in activations.c */
    float setting[2];                             /* and its settings */
    float eps, momentum;                          /* of BATCH_NORM */
    float p;                                      /* of DROPOUT */
    float slope;                                  /* of the ReLU, below 0 */
} instruction;

typedef struct {
    int32_t instructions, classes;
    const feature_map *map; /* the first is the image */
    const instruction *instruction;
    lanes *arena;
    float *packed, *saved; /* scratch: weights in another order, statistics of a step */
    lanes *sums; /* scratch: of a layer's channels */
    lanes *tiles; /* scratch of winograd.c */
    int64_t *input_offsets, *output_offsets; /* scratch: where taps and channels lie */
    const float *parameters;
    float *gradient, *score, *statistics;
    const float *mean, *deviation; /* of pixels / 255, by channel */
    /* The shard's part of the batch; what is augmented in another way is NULL. */
    int32_t images, batch; /* how many it has, and how many the whole batch has */
    const uint8_t *pixels; /* (N, C, H, W) */
    const int64_t *label;
    const int64_t *partner; /* the label of what was mixed in */
    const float *share;    /* of `label`, from 0 to 1; the rest is that of `partner` */
    const float *image_weight; /* what the loss of each is multiplied by */
    const float *soft;     /* (N, classes), the probabilities of a teacher */
    const float *matrices; /* (N, 2, 3), from output to input coordinates, from -1 to 1 */
    const float *fields;   /* (N, 2, coarse, coarse) displacements in x and y, from 0 to 1 */
    const float *spread_down, *spread_across; /* (H, coarse) and (W, coarse), which enlarge a field */
    const float *corners;  /* (N, 2), from 0 to 1, of a square that is blanked */
    int32_t coarse, cutout;
    float elastic, smoothing;
    float weight, temperature; /* of the teacher's part in the loss */
    uint32_t seed;
} network;

static inline int32_t blocks(const network *n) { return (n->images + LANES - 1) / LANES; }

static inline int32_t groups(const network *n) { return (n->images + GROUP - 1) / GROUP; }

/* From a row of a channel to that of the next channel. */
static inline int64_t channel_step(const feature_map *t) { return t->width + t->padding; }

/* From a row of a channel to the next row of it. */
static inline int64_t row_step(const feature_map *t) { return t->channels * channel_step(t); }

static inline int64_t block_size(const feature_map *t)
{
    return (t->height + 2 * t->padding) * row_step(t) + t->padding;
}

/* Row y of a channel, at its first column inside the padding; y may lie in the padding. */
static inline lanes *row(const network *n, const feature_map *t, int64_t buffer, int32_t block,
                  int32_t channel, int32_t y)
{
    return n->arena + buffer + block * block_size(t) + (y + t->padding) * row_step(t) +
           channel * channel_step(t) + t->padding;
}

/* 1 in the lanes that hold an image, 0 in those that fill up the last block. */
static inline lanes present(const network *n, int32_t block)
{
    lanes mask;
    for (int lane = 0; lane < LANES; lane++)
        mask[lane] = block * LANES + lane < n->images;
    return mask;
}

/* The sum of a group: of its halves, of the halves of those, and so on. Of each block, what is added
   over all blocks goes to vector `block % PARTS`. */
static inline float total(const lanes *group)
{
    typedef float eight __attribute__((vector_size(32)));
    typedef float four __attribute__((vector_size(16)));
    eight half[2];
    memcpy(half, group, sizeof half);
    const eight e = half[0] + half[1];
    four quarter[2];
    memcpy(quarter, &e, sizeof e);
    const four q = quarter[0] + quarter[1];
    return (q[0] + q[2]) + (q[1] + q[3]);
}

static inline lanes where(choice mask, lanes v) { return (lanes)((choice)v & mask); }

/* Not-a-number is larger than all, and positive: a training that has lost it must show. */
static inline lanes larger(lanes a, lanes b)
{
    const choice mask = a <= b;
    return (lanes)(((choice)a & ~mask) | ((choice)b & mask));
}

/* The (leaky) ReLU that ends an instruction, if one does. */
static inline lanes rectified(const instruction *l, lanes v)
{
    const choice below = v < 0 & -(l->has_relu != 0);
    return where(~below, v) + where(below, v * l->slope);
}

/* The gradient before the ReLU that ended the layer, if one did: the value has kept its sign. */
static inline lanes through(const instruction *l, lanes gradient, lanes value)
{
    const choice kept = value > 0 | -(l->has_relu == 0);
    return where(kept, gradient) + where(~kept, gradient * l->slope);
}

static inline void put(lanes *place, lanes value, int32_t add)
{
    *place = add ? *place + value : value;
}

static inline lanes all(float number) { return (lanes){0} + number; }

/* The longest of equal parts of `length` that are at most `most` long. */
static inline int32_t part(int32_t length, int32_t most)
{
    const int32_t parts = (length + most - 1) / most;
    return (length + parts - 1) / parts;
}

static inline int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")
#define SHARED __attribute__((visibility("hidden"))) /* with the kernels' other files alone */

/* Sums over taps, of products.c. */
typedef struct {
    lanes *out;
    const int64_t *output_offsets; /* where each output channel lies */
    const lanes *in;
    const int64_t *input_offsets; /* where each tap lies */
    int64_t step;        /* from the input of one column to that of the next */
    int64_t out_step;    /* from the output of one column to that of the next */
    const float *weights; /* [tap][channel] */
    const float *bias;
    int32_t taps, channels, add;
} product;

/* One row of outputs. */
SHARED void multiply(const product *p, int32_t width);

/* The gradient of the weights of such sums, of correlation.c. */
typedef struct {
    const network *n;
    const feature_map *out, *in;
    int32_t out_channel, in_channel; /* the first of the group */
    int32_t first_row, rows;         /* of the outputs of all groups, one group after the other */
    int32_t pad_height, pad_width, stride_height, stride_width;
    const int64_t *input_offsets;
    float *gradient; /* [channel][tap] */
    int32_t taps;
} correlation;

/* Adds to the gradient of the weights of so many channels. */
SHARED void correlate(const correlation *p, int32_t channels);

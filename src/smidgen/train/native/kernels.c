/* The gradient of one shard of a batch, for small convolutional networks on a CPU.

   Images lie side by side in the lanes of a vector: a value of the network is the same value of
   LANES images. So every loop is a vector loop whatever the number of channels, and a weight is
   one number for all lanes. A feature map is [block][row][channel][column][lane], with zeros around
   each channel, which are the padding of the convolutions that read it; the zeros after a row are
   also those before the next. What reads the same row of all channels so reads one piece of memory.

   Compiled once for a machine and called through ctypes; program.py says what is computed. */

#include <math.h>
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

static int32_t blocks(const network *n) { return (n->images + LANES - 1) / LANES; }

static int32_t groups(const network *n) { return (n->images + GROUP - 1) / GROUP; }

/* From a row of a channel to that of the next channel. */
static int64_t channel_step(const feature_map *t) { return t->width + t->padding; }

/* From a row of a channel to the next row of it. */
static int64_t row_step(const feature_map *t) { return t->channels * channel_step(t); }

static int64_t block_size(const feature_map *t)
{
    return (t->height + 2 * t->padding) * row_step(t) + t->padding;
}

/* Row y of a channel, at its first column inside the padding; y may lie in the padding. */
static lanes *row(const network *n, const feature_map *t, int64_t buffer, int32_t block,
                  int32_t channel, int32_t y)
{
    return n->arena + buffer + block * block_size(t) + (y + t->padding) * row_step(t) +
           channel * channel_step(t) + t->padding;
}

/* 1 in the lanes that hold an image, 0 in those that fill up the last block. */
static lanes present(const network *n, int32_t block)
{
    lanes mask;
    for (int lane = 0; lane < LANES; lane++)
        mask[lane] = block * LANES + lane < n->images;
    return mask;
}

/* The sum of a group: of its halves, of the halves of those, and so on. Of each block, what is added
   over all blocks goes to vector `block % PARTS`. */
static float total(const lanes *group)
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

static lanes where(choice mask, lanes v) { return (lanes)((choice)v & mask); }

/* Not-a-number is larger than all, and positive: a training that has lost it must show. */
static lanes larger(lanes a, lanes b)
{
    const choice mask = a <= b;
    return (lanes)(((choice)a & ~mask) | ((choice)b & mask));
}

/* The (leaky) ReLU that ends an instruction, if one does. */
static lanes rectified(const instruction *l, lanes v)
{
    const choice below = v < 0 & -(l->has_relu != 0);
    return where(~below, v) + where(below, v * l->slope);
}

/* The gradient before the ReLU that ended the layer, if one did: the value has kept its sign. */
static lanes through(const instruction *l, lanes gradient, lanes value)
{
    const choice kept = value > 0 | -(l->has_relu == 0);
    return where(kept, gradient) + where(~kept, gradient * l->slope);
}

static void put(lanes *place, lanes value, int32_t add)
{
    *place = add ? *place + value : value;
}

static lanes all(float number) { return (lanes){0} + number; }

#include "norm.c"

#include "products.c"

#include "winograd.c"

#include "winograd_weights.c"

#include "conv.c"

#include "depthwise.c"

#include "activations.c"

#include "layers.c"

#include "images.c"

/* `share` of the cross entropy at temperature T between what is wanted and softmax(logit / T), times
   T²; its gradient is added. */
static float entropy(const network *n, const float *logit, const float *wanted, float share,
                     float temperature, float *gradient)
{
    float most = logit[0], sum = 0, loss = 0, power[n->classes];
    for (int32_t c = 1; c < n->classes; c++)
        most = logit[c] > most ? logit[c] : most;
    for (int32_t c = 0; c < n->classes; c++) {
        power[c] = expf((logit[c] - most) / temperature);
        sum += power[c];
    }
    for (int32_t c = 0; c < n->classes; c++) {
        gradient[c] += share * temperature * (power[c] / sum - wanted[c]);
        loss += wanted[c] * (logf(sum) - (logit[c] - most) / temperature);
    }
    return share * temperature * temperature * loss;
}

/* The share of class c in the labels of image i. */
static float labelled(const network *n, int32_t i, int32_t c)
{
    const float own = c == n->label[i];
    return n->partner ? n->share[i] * own + (1 - n->share[i]) * (c == n->partner[i]) : own;
}

/* The label of image i, or of two the one with the larger share. */
static int64_t main_label(const network *n, int32_t i)
{
    return n->partner && n->share[i] < .5f ? n->partner[i] : n->label[i];
}

/* The loss, and the gradient of its mean over the whole batch: the cross entropy of the labels, and
   that of the teacher's probabilities where there are any; each image with its weight. */
static void loss(const network *n)
{
    const feature_map *t = &n->map[n->instruction[n->instructions - 1].output];
    const float smooth = n->smoothing / (float)n->classes;
    const float taught = n->soft ? n->weight : 0;
    for (int32_t i = 0; i < n->images; i++) {
        const int32_t block = i / LANES, lane = i % LANES;
        float logit[n->classes], wanted[n->classes], slope[n->classes];
        int32_t best = 0;
        for (int32_t c = 0; c < n->classes; c++) {
            logit[c] = (*row(n, t, t->values, block, c, 0))[lane];
            wanted[c] = smooth + labelled(n, i, c) * (1 - n->smoothing);
            slope[c] = 0;
            if (logit[c] > logit[best])
                best = c;
        }
        const float weight = n->image_weight ? n->image_weight[i] : 1;
        n->score[0] += entropy(n, logit, wanted, weight * (1 - taught), 1, slope);
        if (taught > 0)
            n->score[0] += entropy(n, logit, n->soft + (int64_t)i * n->classes, weight * taught,
                                   n->temperature, slope);
        n->score[1] += best == main_label(n, i);
        for (int32_t c = 0; c < n->classes; c++)
            (*row(n, t, t->gradient, block, c, 0))[lane] = slope[c] / (float)n->batch;
    }
    const int32_t used = n->images % LANES;
    for (int32_t c = 0; used && c < n->classes; c++) {
        float *gradient = (float *)row(n, t, t->gradient, blocks(n) - 1, c, 0);
        memset(gradient + used, 0, sizeof(float) * (size_t)(LANES - used));
    }
}

/* Adds the shard's gradient, summed loss and hits to what n points at; moves the statistics. */
static void step(const network *n)
{
    read_images(n);
    for (int32_t i = 0; i < n->instructions; i++)
        forward(n, &n->instruction[i]);
    loss(n);
    for (int32_t i = n->instructions - 1; i >= 0; i--)
        backward(n, &n->instruction[i]);
}

#include "thread_pool.c"

int32_t smidgen_lanes(void) { return LANES; }

#include "peak.c"

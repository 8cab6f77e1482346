/* The gradient of one shard of a batch, for small convolutional networks on a CPU.

   Images lie side by side in the lanes of a vector: a value of the network is the same value of
   LANES images. So every loop is a vector loop whatever the number of channels, and a weight is
   one number for all lanes. A feature map is [block][row][channel][column][lane], with zeros around
   each channel, which are the padding of the convolutions that read it; the zeros after a row are
   also those before the next. What reads the same row of all channels so reads one piece of memory.

   Compiled once for a machine and called through ctypes; program.py says what is computed. */

#include <math.h>

#include "kernels.h"

#include "norm.c"

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

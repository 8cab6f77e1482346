/* Prints the median nanoseconds of one image and of a thousand. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model.h"

enum { ROUNDS = 201, ONCE = 20, MANY = 1000 };

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e9 * (double)time.tv_sec + (double)time.tv_nsec;
}

static int compare(const void *left, const void *right)
{
    const double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

static double median_ns(int rounds, int images)
{
    static double times[ROUNDS * ONCE];
    uint8_t image[SMIDGEN_PIXELS];
    int32_t logits[SMIDGEN_CLASSES];
    for (int i = 0; i < SMIDGEN_PIXELS; i++) {
        image[i] = (uint8_t)rand();
    }
    for (int round = 0; round < rounds; round++) {
        const double start = now_ns();
        for (int i = 0; i < images; i++) {
            image[i % SMIDGEN_PIXELS] = (uint8_t)smidgen_predict(image, logits);
        }
        times[round] = now_ns() - start;
    }
    qsort(times, (size_t)rounds, sizeof *times, compare);
    return times[rounds / 2];
}

int main(void)
{
    (void)median_ns(ROUNDS, 1); /* warm up */
    printf("%.0f %.0f\n", median_ns(ROUNDS * ONCE, 1), median_ns(ROUNDS / 10, MANY));
    return 0;
}

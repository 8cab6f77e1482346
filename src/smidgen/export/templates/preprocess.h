/* How a camera's frame becomes the image that the network takes, written by smidgen.
 *
 * The largest centred part of the frame with the image's aspect ratio is averaged by area, in whole
 * numbers, halves rounded up: to the bit what smidgen does with a picture of the same pixels.
 */
#ifndef SMIDGEN_PREPROCESS_H
#define SMIDGEN_PREPROCESS_H

#include "model.h"

/* The pixels of a row, one after the other. Of RGB565, five bits v become v << 3 | v >> 2, six bits
 * v << 2 | v >> 4. Grey is red, green and blue alike; colours become grey as luma of ITU-R BT.601. */
enum smidgen_format {
    SMIDGEN_GREY,      /* one byte: the level of grey */
    SMIDGEN_RGB888,    /* three bytes: red, green, blue */
    SMIDGEN_RGB565_LE, /* two bytes, the low one first: bits 15-11 red, 10-5 green, 4-0 blue */
    SMIDGEN_RGB565_BE  /* the same two, the high one first */
};

/* A frame of which the rows come in one after the other. The members are not for the caller. */
struct smidgen_frame {
    enum smidgen_format format;
    int32_t left, top, width, height; /* the part of the frame that is averaged */
    int32_t row;                      /* of the frame, the next one */
    int32_t missing;                  /* of the image's row in the making, in 1 / SMIDGEN_HEIGHT */
    uint8_t *out;                     /* that row */
    uint32_t sums[SMIDGEN_WIDTH * SMIDGEN_CHANNELS];
};

/* Begins a frame; `image` is complete once all its rows are added. Returns 0, or -1, and then
 * nothing may be added: for a frame with fewer rows or columns than the image, with more than 4096
 * of either, or with more than 8,405,024 pixels in the part that is averaged. */
int smidgen_begin_frame(struct smidgen_frame *frame, int width, int height,
                        enum smidgen_format format, uint8_t image[SMIDGEN_PIXELS]);

/* Adds the next row of the frame, from the top. */
void smidgen_add_row(struct smidgen_frame *frame, const uint8_t *pixels);

/* The same for a frame that lies in memory, row after row. Returns 0, or -1 as above. */
int smidgen_preprocess(const uint8_t *pixels, int width, int height, enum smidgen_format format,
                       uint8_t image[SMIDGEN_PIXELS]);

#endif

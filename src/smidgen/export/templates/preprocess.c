/* How a camera's frame becomes the image that the network takes, written by smidgen.
 *
 * C99 without heap and without floating point. A pixel of the frame has SMIDGEN_WIDTH parts across
 * and SMIDGEN_HEIGHT parts down, a pixel of the image takes `width` parts across and `height` parts
 * down: so a pixel of the frame goes to one pixel of the image or to two beside each other.
 */
#include "preprocess.h"

enum { LARGEST_SIDE = 4096 };
#define MOST_PIXELS (UINT32_MAX / 511u) /* twice a sum, plus the total, stays within 32 bits */

static int32_t smaller(int32_t one, int32_t other)
{
    return one < other ? one : other;
}

/* The side of the largest part, at most `side`: `other` * ratio / other_ratio, rounded half up. */
static int32_t fitted(int32_t side, int32_t other, int32_t ratio, int32_t other_ratio)
{
    return smaller(side, (2 * other * ratio + other_ratio) / (2 * other_ratio));
}

int smidgen_begin_frame(struct smidgen_frame *frame, int width, int height,
                        enum smidgen_format format, uint8_t image[SMIDGEN_PIXELS])
{
    if (width < SMIDGEN_WIDTH || height < SMIDGEN_HEIGHT || width > LARGEST_SIDE ||
        height > LARGEST_SIDE) {
        return -1;
    }
    frame->format = format;
    frame->width = fitted(width, height, SMIDGEN_WIDTH, SMIDGEN_HEIGHT);
    frame->height = fitted(height, width, SMIDGEN_HEIGHT, SMIDGEN_WIDTH);
    frame->left = (width - frame->width) / 2;
    frame->top = (height - frame->height) / 2;
    frame->row = 0;
    frame->missing = frame->height;
    frame->out = image;
    for (int i = 0; i < SMIDGEN_WIDTH * SMIDGEN_CHANNELS; i++) {
        frame->sums[i] = 0;
    }
    return (uint32_t)(frame->width * frame->height) <= MOST_PIXELS ? 0 : -1;
}

/* A pixel's levels, as many as the image has channels. */
static void read_pixel(const uint8_t *pixels, int32_t x, enum smidgen_format format,
                       uint32_t levels[SMIDGEN_CHANNELS])
{
    uint32_t red, green, blue;
    if (format == SMIDGEN_GREY) {
        red = green = blue = pixels[x];
    } else if (format == SMIDGEN_RGB888) {
        red = pixels[3 * x];
        green = pixels[3 * x + 1];
        blue = pixels[3 * x + 2];
    } else {
        const uint32_t high = pixels[2 * x + (format == SMIDGEN_RGB565_LE)];
        const uint32_t low = pixels[2 * x + (format == SMIDGEN_RGB565_BE)];
        const uint32_t middle = (high & 7u) << 3 | low >> 5;
        red = (high & 0xF8u) | high >> 5;
        green = middle << 2 | middle >> 4;
        blue = (low & 0x1Fu) << 3 | (low & 0x1Fu) >> 2;
    }
#if SMIDGEN_CHANNELS == 1
    levels[0] = (299u * red + 587u * green + 114u * blue + 500u) / 1000u;
#else
    levels[0] = red;
    levels[1] = green;
    levels[2] = blue;
#endif
}

/* Adds a row's average across, times `above`, to the sums, writes these as a row of the image if
 * it `ends` there, and begins the next ones with the average times `below`. */
static void add_sums(struct smidgen_frame *frame, const uint32_t across[SMIDGEN_CHANNELS], int x,
                     uint32_t above, uint32_t below, int ends)
{
    const uint32_t total = (uint32_t)(frame->width * frame->height);
    for (int channel = 0; channel < SMIDGEN_CHANNELS; channel++) {
        const int i = x * SMIDGEN_CHANNELS + channel;
        frame->sums[i] += above * across[channel];
        if (ends) {
            frame->out[i] = (uint8_t)((2u * frame->sums[i] + total) / (2u * total));
            frame->sums[i] = below * across[channel];
        }
    }
}

void smidgen_add_row(struct smidgen_frame *frame, const uint8_t *pixels)
{
    const int32_t row = frame->row++ - frame->top;
    if (row < 0 || row >= frame->height) {
        return;
    }
    const int32_t above = smaller(SMIDGEN_HEIGHT, frame->missing);
    const int32_t below = SMIDGEN_HEIGHT - above;
    const int ends = frame->missing == above;
    uint32_t across[SMIDGEN_CHANNELS] = {0};
    uint32_t levels[SMIDGEN_CHANNELS];
    int32_t missing = frame->width; /* of the image's pixel in the making */
    int x = 0;
    for (int32_t i = 0; i < frame->width; i++) {
        const int32_t left = smaller(SMIDGEN_WIDTH, missing);
        read_pixel(pixels, frame->left + i, frame->format, levels);
        for (int channel = 0; channel < SMIDGEN_CHANNELS; channel++) {
            across[channel] += (uint32_t)left * levels[channel];
        }
        missing -= left;
        if (missing == 0) {
            add_sums(frame, across, x, (uint32_t)above, (uint32_t)below, ends);
            x++;
            for (int channel = 0; channel < SMIDGEN_CHANNELS; channel++) {
                across[channel] = (uint32_t)(SMIDGEN_WIDTH - left) * levels[channel];
            }
            missing = frame->width - (SMIDGEN_WIDTH - left);
        }
    }
    frame->missing -= above;
    if (ends) {
        frame->missing = frame->height - below;
        frame->out += SMIDGEN_WIDTH * SMIDGEN_CHANNELS;
    }
}

int smidgen_preprocess(const uint8_t *pixels, int width, int height, enum smidgen_format format,
                       uint8_t image[SMIDGEN_PIXELS])
{
    static const int sizes[] = {1, 3, 2, 2}; /* bytes of a pixel, by format */
    static struct smidgen_frame frame;
    if (smidgen_begin_frame(&frame, width, height, format, image) != 0) {
        return -1;
    }
    for (int32_t y = 0; y < height; y++) {
        smidgen_add_row(&frame, pixels + y * width * sizes[format]);
    }
    return 0;
}

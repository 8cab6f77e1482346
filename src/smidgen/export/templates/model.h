/* $title
 *
$about
 */
#ifndef SMIDGEN_MODEL_H
#define SMIDGEN_MODEL_H

#include <stdint.h>

/* An image is $height rows of $width pixels, from the top. A pixel is $levels.
 * Each byte is 0 to 255, as in a picture: the network normalises it itself. */
#define SMIDGEN_CHANNELS $input_channels
#define SMIDGEN_HEIGHT $height
#define SMIDGEN_WIDTH $width
#define SMIDGEN_PIXELS $pixels /* the bytes of an image: height x width x channels */
#define SMIDGEN_CLASSES $classes

/* The class of an image, from 0. `logits` receives one number per class; times $logit_scale they
 * are those of the float network. Not to be called again before it has returned: its buffers are
 * static. */
int smidgen_predict(const uint8_t image[$pixels], int32_t logits[$classes]);

/* The name of a class, in UTF-8. Where it is not called, the names take no memory. */
static inline const char *smidgen_class_name(int label)
{
    static const char *const names[] = {
$names
    };
    return names[label];
}

#endif

/* $title
 *
$about
 */
#ifndef SMIDGEN_MODEL_H
#define SMIDGEN_MODEL_H

#include <stdint.h>

#define SMIDGEN_PIXELS $pixels
#define SMIDGEN_CLASSES $classes

/* The class of an image of $height x $width grey levels, 0 = background, row by row. `logits`
 * receives one number per class; times $logit_scale they are those of the float network. Not to
 * be called again before it has returned: its buffers are static. */
int smidgen_predict(const uint8_t image[$pixels], int32_t logits[$classes]);

#endif

/* The smallest firmware with the network in it: what its size is, the network costs. The image is
 * the caller's, and has no place here. */
#include "model.h"

extern const uint8_t image[];
extern volatile int label;

int main(void)
{
    static int32_t logits[SMIDGEN_CLASSES];
    label = smidgen_predict(image, logits);
    return 0;
}

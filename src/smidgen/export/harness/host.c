/* Reads images from the standard input, writes their logits to the standard output. */
#include <stdio.h>

#include "model.h"

int main(void)
{
    uint8_t image[SMIDGEN_PIXELS];
    int32_t logits[SMIDGEN_CLASSES];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        (void)smidgen_predict(image, logits);
        if (fwrite(logits, sizeof logits, 1, stdout) != 1) {
            return 1;
        }
    }
    return 0;
}

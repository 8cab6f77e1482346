/* Reads frames from the standard input, writes their images to the standard output. A frame is its
 * width, height and format, each an int32_t, and its pixels; an image follows what was returned. */
#include <stdio.h>
#include <stdlib.h>

#include "preprocess.h"

int main(void)
{
    static const int sizes[] = {1, 3, 2, 2};
    int32_t head[3];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        const size_t bytes = (size_t)head[0] * (size_t)head[1] * (size_t)sizes[head[2]];
        uint8_t *const pixels = malloc(bytes); /* no larger, for the sanitizers */
        uint8_t image[SMIDGEN_PIXELS] = {0};
        if (pixels == NULL || fread(pixels, 1, bytes, stdin) != bytes) {
            return 1;
        }
        const enum smidgen_format format = (enum smidgen_format)head[2];
        const int32_t returned = smidgen_preprocess(pixels, head[0], head[1], format, image);
        free(pixels);
        if (fwrite(&returned, sizeof returned, 1, stdout) != 1 ||
            fwrite(image, sizeof image, 1, stdout) != 1) {
            return 1;
        }
    }
    return 0;
}

/* For the emulator: the images of every frame of a file, row by row, as frames.c writes them. */
#include "preprocess.h"
#include "semihosting.h"

enum { LONGEST_ROW = 3 * 4096 };

int main(void)
{
    static const int32_t sizes[] = {1, 3, 2, 2};
    static struct smidgen_frame frame;
    static uint8_t row[LONGEST_ROW];
    static uint8_t image[SMIDGEN_PIXELS];
    static int32_t head[3];
    const int32_t frames = open_file("frames.bin", 10, READ_BINARY);
    const int32_t images = open_file("images.bin", 10, WRITE_BINARY);
    while (move(READ, frames, head, sizeof head) == 0) {
        const enum smidgen_format format = (enum smidgen_format)head[2];
        int32_t returned = smidgen_begin_frame(&frame, head[0], head[1], format, image);
        for (int32_t y = 0; y < head[1]; y++) {
            (void)move(READ, frames, row, (uint32_t)(head[0] * sizes[head[2]]));
            if (returned == 0) {
                smidgen_add_row(&frame, row);
            }
        }
        (void)move(WRITE, images, &returned, sizeof returned);
        (void)move(WRITE, images, image, sizeof image);
    }
    (void)host(CLOSE, &images);
    leave();
    return 0;
}

/* Reads the digit in an image and blinks that many times, for ever: on a BBC micro:bit (first
 * edition), whose LEDs sit between rows (high) and columns (low). For another board, change the
 * three registers and the two pins. */
#include "model.h"

#if SMIDGEN_CHANNELS != 1 || SMIDGEN_HEIGHT != 28 || SMIDGEN_WIDTH != 28
#error "this example draws a digit of 28 x 28 levels of grey; put a picture of yours into `image`"
#endif

#define GPIO_OUT_SET (*(volatile uint32_t *)0x50000508)
#define GPIO_OUT_CLEAR (*(volatile uint32_t *)0x5000050C)
#define GPIO_DIRECTION_SET (*(volatile uint32_t *)0x50000518)
#define ROW (1u << 13)
#define COLUMN (1u << 4)

/* Where a camera, a serial line or a touch screen would put what it saw; here, a hand-drawn one. */
static uint8_t image[SMIDGEN_PIXELS];

static void draw_a_one(void)
{
    for (int y = 4; y < 24; y++) {
        for (int x = 13; x < 16; x++) {
            image[y * SMIDGEN_WIDTH + x] = 255;
        }
    }
}

static void wait(uint32_t turns)
{
    for (volatile uint32_t turn = 0; turn < turns; turn++) {
    }
}

static void blink(int times)
{
    for (int i = 0; i < times; i++) {
        GPIO_OUT_SET = ROW;
        wait(200000);
        GPIO_OUT_CLEAR = ROW;
        wait(200000);
    }
}

int main(void)
{
    int32_t logits[SMIDGEN_CLASSES];
    GPIO_DIRECTION_SET = ROW | COLUMN;
    GPIO_OUT_CLEAR = COLUMN;
    draw_a_one();
    for (;;) {
        blink(smidgen_predict(image, logits));
        wait(2000000);
    }
}

/* Start-up for a bare Cortex-M: the vector table, and what C expects before main. */
#include <stdint.h>

extern uint32_t data_source[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];

int main(void);
void reset(void);
static void halt(void);

void reset(void)
{
    const uint32_t *from = data_source;
    for (uint32_t *to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    main();
    halt();
}

static void halt(void)
{
    for (;;) {
    }
}

/* The initial stack pointer and the fifteen exceptions of the core; a board's interrupts would
 * follow. A union, because C99 has no pointer that can hold both kinds of address. */
typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = stack_top}, {.handler = reset}, {.handler = halt}, {.handler = halt},
    {.handler = halt},    {.handler = halt},  {.handler = halt}, {.stack = 0},
    {.stack = 0},         {.stack = 0},       {.stack = 0},      {.handler = halt},
    {.handler = halt},    {.stack = 0},       {.handler = halt}, {.handler = halt},
};

/* Files of the machine that runs the emulator, by semihosting. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

enum { OPEN = 1, CLOSE = 2, WRITE = 5, READ = 6, EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5, APPLICATION_EXIT = 0x20026 };

static inline int32_t host(int32_t operation, const void *arguments)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static inline int32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[] = {(uint32_t)name, mode, length};
    return host(OPEN, arguments);
}

/* Returns how many of the bytes were not read or written. */
static inline int32_t move(int32_t operation, int32_t file, void *bytes, uint32_t length)
{
    const uint32_t arguments[] = {(uint32_t)file, (uint32_t)bytes, length};
    return host(operation, arguments);
}

static inline void leave(void)
{
    (void)host(EXIT, (const void *)APPLICATION_EXIT);
}

#endif

/* Computes the step of one shard that another processor has prepared: kernel_builds.py builds it
   with the kernels for arm64 and runs it by qemu.

   Standard input and, with what the step has made of the vectors, standard output: the size of the
   structure `network` and its bytes, the number of its pointers that are not NULL, and for each its
   place in the structure, the size of what it points to and that. Numbers are int64. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void smidgen_run_pool(void *pool, void *const *shards, int32_t count);

static void copy(void *place, int64_t size, int is_read)
{
    const size_t done = is_read ? fread(place, 1, (size_t)size, stdin)
                                : fwrite(place, 1, (size_t)size, stdout);
    if (done != (size_t)size)
        exit(1);
}

static int64_t number(void)
{
    int64_t value;
    copy(&value, sizeof value, 1);
    return value;
}

int main(void)
{
    char network[1024], *vector[64];
    int64_t size[64];
    copy(network, number(), 1);
    const int64_t pointers = number();
    for (int64_t i = 0; i < pointers; i++) {
        char **pointer = (char **)(network + number());
        size[i] = number();
        *pointer = vector[i] = aligned_alloc(64, (size_t)(size[i] + 127) / 64 * 64);
        copy(vector[i], size[i], 1);
    }
    smidgen_run_pool(0, (void *[]){network}, 1);
    for (int64_t i = 0; i < pointers; i++)
        copy(vector[i], size[i], 0);
    return 0;
}

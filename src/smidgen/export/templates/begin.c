/* $title
 *
$about
 *
 * C99 without heap and without floating point. A tensor is uint8 (height, width, channels). It is
 * computed row by row, and only as many of its rows are kept as are read again.
 */
#include "model.h"

/* Where speed counts, every layer gets code of its own, with its numbers built in. Where size
 * counts, nothing is there twice, and only an inner loop gets a function, and with it registers, of
 * its own. */
#if defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define FAST 1
#define FUNCTION static inline __attribute__((always_inline))
#define INNER_LOOP FUNCTION
#else
#define FAST 0
#define FUNCTION static
#if defined(__GNUC__)
#define INNER_LOOP static __attribute__((noinline))
#else
#define INNER_LOOP static
#endif
#endif

/* A shift to the right divides and rounds down, below zero too. */
typedef char shift_keeps_the_sign[(-1 >> 1) == -1 ? 1 : -1];

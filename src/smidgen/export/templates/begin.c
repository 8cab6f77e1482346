/* $title
 *
$about
 *
 * C99 without heap and without floating point. A tensor is uint8 (height, width, channels). It is
 * computed row by row, and only as many of its rows are kept as are read again.
 */
#include "model.h"

/* Optimised for speed, every layer gets a copy of the code with its numbers as constants. Optimised
 * for size, no code is copied, and only the inner loops are functions, with registers of their
 * own. */
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

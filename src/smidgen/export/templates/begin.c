/* $title
 *
$about
 *
 * C99 without heap and without floating point. A tensor is uint8 (height, width, channels). It is
 * computed row by row, and only as many of its rows are kept as are read again.
 */
#include "model.h"

/* Where speed counts, every layer gets code of its own, with its numbers built in, and a vector may
 * reach SLACK past the end of the weights. Where size counts, nothing is there twice. */
#if defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define FAST 1
#define SLACK 32
#define FUNCTION static inline __attribute__((always_inline))
#elif defined(__GNUC__)
#define FAST 0
#define SLACK 0
#define FUNCTION static __attribute__((noinline))
#else
#define FAST 0
#define SLACK 0
#define FUNCTION static
#endif

/* A shift to the right divides and rounds down, below zero too. */
typedef char shift_keeps_the_sign[(-1 >> 1) == -1 ? 1 : -1];

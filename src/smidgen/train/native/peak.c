/* What a core can do at most: chains of fused multiply-adds that wait for nothing but themselves. */

#define CHAINS 12 /* two units of four cycles each want eight at work; with their operands all fit in
                     the sixteen registers of AVX2 */

/* Makes `rounds` steps of every chain; returns the floating-point operations of one round. */
int32_t smidgen_multiply_add(int64_t rounds)
{
    lanes sum[CHAINS], factor, term;
    for (int lane = 0; lane < LANES; lane++) {
        factor[lane] = 0.5f;
        term[lane] = 1.0f;
    }
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++)
        sum[i] = term * (float)i;
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sum[i] = sum[i] * factor + term;
    }
    volatile float kept = 0;
    for (int i = 0; i < CHAINS; i++)
        kept += sum[i][0];
    return 2 * CHAINS * LANES;
}

/* A pool of threads that compute shards, step after step. The next step is a tenth of a millisecond
   away, so they wait awake before they sleep: waking a thread takes as long as that. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPINS 200000 /* about a millisecond */

typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t submitted;
    network *const *shards; /* NULL: the thread ends */
    int32_t first, count, step;
    atomic_int is_busy;
} worker;

typedef struct {
    int32_t threads;
    worker worker[];
} thread_pool;

/* Every `apart`-th shard from the first on, one after the other. */
static void steps(network *const *shards, int32_t first, int32_t count, int32_t apart)
{
    for (int32_t i = first; i < count; i += apart)
        step(shards[i]);
}

static void *work(void *self)
{
    worker *w = self;
    for (;;) {
        for (int32_t spin = 0; spin < SPINS && !w->is_busy; spin++)
            atomic_signal_fence(memory_order_seq_cst);
        pthread_mutex_lock(&w->lock);
        while (!w->is_busy)
            pthread_cond_wait(&w->submitted, &w->lock);
        pthread_mutex_unlock(&w->lock);
        if (!w->shards)
            return 0;
        steps(w->shards, w->first, w->count, w->step);
        w->is_busy = 0;
    }
}

static void submit(worker *w, network *const *shards, int32_t first, int32_t count, int32_t step)
{
    pthread_mutex_lock(&w->lock);
    w->shards = shards;
    w->first = first;
    w->count = count;
    w->step = step;
    w->is_busy = 1;
    pthread_cond_signal(&w->submitted);
    pthread_mutex_unlock(&w->lock);
}

/* At most that many threads beside the caller's, until smidgen_destroy_pool. */
thread_pool *smidgen_create_pool(int32_t threads)
{
    thread_pool *pool = calloc(1, sizeof(thread_pool) + (size_t)threads * sizeof(worker));
    for (int32_t i = 0; pool && i < threads; i++) {
        worker *w = &pool->worker[i];
        pthread_mutex_init(&w->lock, 0);
        pthread_cond_init(&w->submitted, 0);
        if (pthread_create(&w->thread, 0, work, w))
            break;
        pool->threads++;
    }
    return pool;
}

/* How many threads compute, the caller's among them. `pool` may be NULL. */
int32_t smidgen_pool_threads(const thread_pool *pool) { return pool ? pool->threads + 1 : 1; }

/* A step of each shard: shard i on thread i modulo the number of threads, the caller's the first. */
void smidgen_run_pool(thread_pool *pool, network *const *shards, int32_t count)
{
    const int32_t threads = smidgen_pool_threads(pool);
    for (int32_t i = 1; i < least(threads, count); i++)
        submit(&pool->worker[i - 1], shards, i, count, threads);
    steps(shards, 0, count, threads);
    for (int32_t i = 1; i < least(threads, count); i++)
        for (int32_t spin = 1; pool->worker[i - 1].is_busy; spin++)
            if (spin % 1000 == 0)
                sched_yield();
}

void smidgen_destroy_pool(thread_pool *pool)
{
    for (int32_t i = 0; pool && i < pool->threads; i++) {
        submit(&pool->worker[i], 0, 0, 0, 0);
        pthread_join(pool->worker[i].thread, 0);
    }
    free(pool);
}

/* A pool of threads that compute a shard each, step after step. The next step is a tenth of a
   millisecond away, so they wait awake before they sleep: waking a thread takes as long as that. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPINS 200000 /* about a millisecond */

typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t submitted;
    _Atomic(network *) shard; /* NULL once it is done */
} worker;

typedef struct {
    int32_t threads;
    worker worker[];
} thread_pool;

static network END; /* instead of a shard: the thread ends */

static void *work(void *self)
{
    worker *w = self;
    for (;;) {
        for (int32_t spin = 0; spin < SPINS && !w->shard; spin++)
            atomic_signal_fence(memory_order_seq_cst);
        pthread_mutex_lock(&w->lock);
        while (!w->shard)
            pthread_cond_wait(&w->submitted, &w->lock);
        pthread_mutex_unlock(&w->lock);
        if (w->shard == &END)
            return 0;
        step(w->shard);
        w->shard = 0;
    }
}

static void submit(worker *w, network *shard)
{
    pthread_mutex_lock(&w->lock);
    w->shard = shard;
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

/* A step of each shard: the threads take one each, the caller what is left. `pool` may be NULL. */
void smidgen_run_pool(thread_pool *pool, network *const *shards, int32_t count)
{
    const int32_t submitted = count ? least(pool ? pool->threads : 0, count - 1) : 0;
    for (int32_t i = 0; i < submitted; i++)
        submit(&pool->worker[i], shards[i]);
    for (int32_t i = submitted; i < count; i++)
        step(shards[i]);
    for (int32_t i = 0; i < submitted; i++)
        for (int32_t spin = 1; pool->worker[i].shard; spin++)
            if (spin % 1000 == 0)
                sched_yield();
}

void smidgen_destroy_pool(thread_pool *pool)
{
    for (int32_t i = 0; pool && i < pool->threads; i++) {
        submit(&pool->worker[i], &END);
        pthread_join(pool->worker[i].thread, 0);
    }
    free(pool);
}

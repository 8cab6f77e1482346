/* Threads that take a shard each, step after step. The next step is a tenth of a millisecond away,
   so they look out for it before they sleep: waking a thread takes as long as the gap. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LOOKS 200000 /* about a millisecond */

typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t given;
    _Atomic(network *) shard; /* NULL once it is done */
} member;

typedef struct {
    int32_t members;
    member member[];
} team;

static network END; /* instead of a shard: go home */

static void *work(void *self)
{
    member *m = self;
    for (;;) {
        for (int32_t look = 0; look < LOOKS && !m->shard; look++)
            atomic_signal_fence(memory_order_seq_cst);
        pthread_mutex_lock(&m->lock);
        while (!m->shard)
            pthread_cond_wait(&m->given, &m->lock);
        pthread_mutex_unlock(&m->lock);
        if (m->shard == &END)
            return 0;
        step(m->shard);
        m->shard = 0;
    }
}

static void give(member *m, network *shard)
{
    pthread_mutex_lock(&m->lock);
    m->shard = shard;
    pthread_cond_signal(&m->given);
    pthread_mutex_unlock(&m->lock);
}

/* At most that many threads beside the caller's; smidgen_dismiss ends them. */
team *smidgen_gather(int32_t members)
{
    team *t = calloc(1, sizeof(team) + (size_t)members * sizeof(member));
    for (int32_t i = 0; t && i < members; i++) {
        member *m = &t->member[i];
        pthread_mutex_init(&m->lock, 0);
        pthread_cond_init(&m->given, 0);
        if (pthread_create(&m->thread, 0, work, m))
            break;
        t->members++;
    }
    return t;
}

/* A step of each shard: the members take one each in turn, the caller what is left. */
void smidgen_step(team *t, network *const *shards, int32_t count)
{
    const int32_t helped = least(t ? t->members : 0, count - 1);
    for (int32_t i = 0; i < helped; i++)
        give(&t->member[i], shards[i]);
    for (int32_t i = helped; i < count; i++)
        step(shards[i]);
    for (int32_t i = 0; i < helped; i++)
        for (int32_t look = 1; t->member[i].shard; look++)
            if (look % 1000 == 0)
                sched_yield();
}

void smidgen_dismiss(team *t)
{
    for (int32_t i = 0; t && i < t->members; i++) {
        give(&t->member[i], &END);
        pthread_join(t->member[i].thread, 0);
    }
    free(t);
}

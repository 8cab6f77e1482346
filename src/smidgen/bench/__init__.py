"""How fast smidgen is on this machine, beside the loop that people write.

    against_standard_loop(data)   images a second of both, in turn, and their ratio
    roofline(models)              training FLOP/s as a share of what a matrix product reaches here
    augmentation()                images a second
    growth(data)                    seconds for twice the images, memory for more epochs
    latency(model)                milliseconds for a batch of 1 and of 1,000, by what runs it
    time_to_accuracy(recipe, …)   seconds of training until a test accuracy is reached

Machines are shared and noisy, so what is compared is taken in turn within one run, and the figures
are medians over the rounds; look at the ratios before the seconds.
"""

from smidgen.bench.race import race, time_to_accuracy
from smidgen.bench.rates import against_standard_loop, augmentation, growth, roofline, scaling
from smidgen.export.latency import latency

__all__ = [
    "against_standard_loop",
    "augmentation",
    "growth",
    "latency",
    "race",
    "roofline",
    "scaling",
    "time_to_accuracy",
]

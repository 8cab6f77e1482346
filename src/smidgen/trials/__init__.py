"""Trials: many trainings side by side, one core each, of which a sampler says what they are.

A grid and a list of recipes (`smidgen.sweep`) and a space of networks (`smidgen.search`) are
samplers; the driver asks them, hands out what is to be trained, and tells them.
"""

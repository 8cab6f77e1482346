"""Image classifiers that fit in a smidgen."""

"""Search under a budget: spaces of networks, and what a network weighs before it is trained.

    space = load_space("chain")
    candidate = space.draw(trial)                     # a network and its recipe's values
    weight = weigh(candidate.network, preprocess, 10, Limits(params=8000))

A `trial` is Optuna's, or a `RandomTrial`. docs/search.md is the guide.
"""

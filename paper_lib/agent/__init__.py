"""DreamerV3 v1 and Plan2Explore as pure functions on pytrees.

Nothing here reads files or steps environments.

dists         distributions and transforms
layers        network blocks
networks      which networks a run has, and their sizes
world_model   encoder, recurrent model, heads, and the loss of Eq. 4
actor_critic  behaviour learning in imagination
plan2explore  the ensemble whose disagreement is a reward
probe         the autoencoder of the policy input
optim         the optimisers
measures      measures of degradation, which watch the agent and do not change it
across        what several models of a recording predict for an agent
dreamer       one update of all networks, acting, and measuring whole episodes
kernels       fast versions of formulas, each beside the plain formula with the same result

Equations and algorithms without a source are those of the paper. v1 is DreamerV3 as it was
published in January 2023 (arXiv:2301.04104v1), and where text and code differ, its code.

Sizes in docstrings: B batch, T time, H horizon, N imagined trajectories, A action, D deter,
S latents of C classes, F = D + S * C features, E embedding, K bins, U units. `...` is any
leading shape.
"""

"""Public data sets and weights of models: which there are, what of them is here, fetching and removing it."""

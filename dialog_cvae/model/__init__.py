"""The models, their weights by name and shape, and the ELBO."""

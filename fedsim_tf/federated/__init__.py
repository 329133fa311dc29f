"""Learning one shape and material model at several sites; only gradients and latent statistics travel."""

"""Several sites learn one shape and material model; only gradients, moments of latents and losses leave a site."""

"""Rounds in which the server adds up gradients that it cannot read, and each site takes the optimizer's step itself."""

"""The attack of a curious server on one answer of a site, which measures what gradients without noise give away."""

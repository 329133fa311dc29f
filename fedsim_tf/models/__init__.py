"""Networks and latents."""

"""The networks, their layers and their latents."""

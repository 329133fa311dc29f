"""The methods that ours is compared with: fixed materials, random shapes, blending, direct federated learning."""

"""Heart shape: surfaces, the statistical shape model, its pose, voxelization and the differentiable decoder."""

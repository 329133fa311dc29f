"""Heart shape: surfaces, the statistical shape model, its pose, voxelization and the differentiable decoder."""

from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.voxelize import label_map, occupancy

__all__ = ["CorrespondingShapes", "Grid", "ShapeDecoder", "StatisticalShapeModel", "label_map", "occupancy"]

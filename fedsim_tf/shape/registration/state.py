"""The state of a registration after an iteration, and its checkpoint file."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.files import read_npz, write_npz
from fedsim_tf.shape.label_surfaces import LabelSurface
from fedsim_tf.shape.registration.alignment import Similarity
from fedsim_tf.shape.registration.options import RegistrationOptions

FORMAT_VERSION = 1


@dataclasses.dataclass(eq=False)
class State:
    """All that the next iteration starts from, for n subjects and M components.

    Attributes:
      iteration: number of iterations that are done, over all stages.
      points, normals: (M, 3) of the template.
      faces: (F, 3) of the template.
      region_id: (M,) of the template.
      instances: (n, M, 3) template deformed to each subject, in the template's frame.
      scale, rotation, translation: (n,), (n, 3, 3) and (n, 3) from each subject's mm to the template's frame.
      log_share, nu: (M,) logarithms of the mixing shares, and degrees of freedom.
      scalars: (2,) sigma in mm and kappa.
      record: (iterations, 4) stage, sigma, kappa and mean nu after each iteration.
    """

    iteration: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray
    instances: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    log_share: np.ndarray
    nu: np.ndarray
    scalars: np.ndarray
    record: np.ndarray

    def similarity(self, subject: int) -> Similarity:
        """Return a subject's transform to the template's frame."""
        return Similarity(float(self.scale[subject]), self.rotation[subject], self.translation[subject])

    def set_similarities(self, transforms: Sequence[Similarity]) -> None:
        """Set all subjects' transforms to the template's frame."""
        self.scale = np.array([transform.scale for transform in transforms])
        self.rotation = np.stack([transform.rotation for transform in transforms])
        self.translation = np.stack([transform.translation for transform in transforms])

    def save(self, path: str | os.PathLike, digest: str) -> None:
        """Write an .npz without pickle, whole or not at all."""
        write_npz(path, {"digest": digest, "format_version": FORMAT_VERSION, **vars(self)})

    @classmethod
    def load(cls, path: str | os.PathLike, digest: str) -> State | None:
        """Return what `save` wrote, or None where there is no file.

        Raises:
          InputError: the file is damaged, or belongs to other surfaces, options or another version.
        """
        if not pathlib.Path(path).exists():
            return None
        names = [field.name for field in dataclasses.fields(cls)]
        arrays = read_npz(path, required=(*names, "format_version"), texts=("digest",))
        if int(arrays["format_version"]) != FORMAT_VERSION or str(arrays["digest"]) != digest:
            raise InputError(
                path,
                found="the state of a registration of other surfaces, options or version",
                expected="the state of this one; remove it to begin anew, or give another `checkpoint`",
            )
        return cls(**{name: arrays[name] for name in names})


def registration_digest(surfaces: Sequence[LabelSurface], options: RegistrationOptions) -> str:
    """Return a digest of all that the result of a registration depends on."""
    found = hashlib.sha256(repr(dataclasses.replace(options, workers=1)).encode())
    for surface in surfaces:
        found.update(surface.identity.encode())
        for array in (surface.points, surface.normals, surface.faces, surface.region_id):
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()

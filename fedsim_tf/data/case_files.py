"""The files of a scan, and what identities stand for."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from fedsim_tf.data.folders import walk_files
from fedsim_tf.data.formats import strip_suffix
from fedsim_tf.data.labels import LabelScheme
from fedsim_tf.data.text_headers import list_data_files
from fedsim_tf.errors import InputError, Refusals


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """The files of one scan.

    Attributes:
      identity: the scan's name.
      image: the CT, a file or the folder of a DICOM series.
      label: a label volume, a mask for each region id, or None where the scan is not annotated.
      label_scheme: the meaning of this label's values where the data set's own files say it, else None.
      patient: the patient where the data set's own files say it, else empty.
    """

    identity: str
    image: pathlib.Path
    label: pathlib.Path | Mapping[int, pathlib.Path] | None = None
    label_scheme: LabelScheme | None = None
    patient: str = ""

    @property
    def label_paths(self) -> tuple[pathlib.Path, ...]:
        """Return every label file."""
        if self.label is None:
            return ()
        return tuple(self.label.values()) if isinstance(self.label, Mapping) else (self.label,)

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """Return every file: also a DICOM series' slices and the voxels that lie beside their header."""
        return tuple(file for path in (self.image, *self.label_paths) for file in list_parts(path))


def check_partners(
    files: Mapping[str, pathlib.Path],
    partners: Container[str],
    *,
    of: object,
    found: str,
    expected: Callable[[str], str],
) -> None:
    """Refuse every file whose name has no partner, all at once.

    Args:
      files: images or labels by name.
      partners: the names of the other kind.
      of: what the files belong to, for the message.
      found: says what is wrong; expected: says of a name what should be there.

    Raises:
      InputError: names the files.
    """
    refusals = Refusals(of)
    for name, path in files.items():
        if name not in partners:
            refusals.add(InputError(path, found=found, expected=expected(name)))
    refusals.check()


def list_parts(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Return the files of a volume: those of a folder, or a file with the one that holds its voxels."""
    return tuple(walk_files(path, below=False)) if path.is_dir() else list_data_files(path)


def index_files(pairs: Iterable[tuple[str, pathlib.Path]], *, what: str = "") -> dict[str, pathlib.Path]:
    """Return the path of each identity.

    Args:
      pairs: identities and paths.
      what: what an identity stands for, for messages; by default it stands for itself.

    Raises:
      InputError: an identity that comes twice, with both files.
    """
    found: dict[str, pathlib.Path] = {}
    for identity, path in pairs:
        if identity in found:
            raise InputError(
                path, found=f"{what or identity} a second time, after {found[identity]}", expected="each case once"
            )
        found[identity] = path
    return found


def name_scans(images: Sequence[pathlib.Path], root: pathlib.Path) -> list[str]:
    """Return an identity for each image: its file's name or, where names come twice, the path below `root` to it."""
    names = [strip_suffix(image) for image in images]
    if len(set(names)) == len(names):
        return names
    below = [image.parent.relative_to(root) if image.is_relative_to(root) else image.parent for image in images]
    return ["_".join([*folder.parts, name]).strip("/") for folder, name in zip(below, names, strict=True)]

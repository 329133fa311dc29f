"""What a PNG shows, as far as a test can tell, and a segmenter that needs no training."""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fedsim_tf.training.volumes import Volumes


def pixels(path: pathlib.Path) -> np.ndarray:
    """The picture (height, width, 3) in 0..255; fails if it is no PNG."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def is_drawn(path: pathlib.Path) -> bool:
    """Whether a picture is of plausible size and neither of one colour nor nearly so."""
    image = pixels(path)
    colours = np.unique(image @ [65536, 256, 1])
    return min(image.shape[:2]) >= 100 and image.std() > 10 and len(colours) > 20


def share_of(image: np.ndarray, red: int, green: int, blue: int) -> float:
    """The share of pixels whose colour is close to the given one."""
    return float(np.mean(np.abs(image - [red, green, blue]).max(axis=-1) < 30))


def leave_out_pictures(patch: pytest.MonkeyPatch) -> None:
    """Let runs draw nothing and put no volumes to scroll into their pages: that takes longer than all of a toy run."""
    of_samples = ("samples.sample_gallery", "samples.heart_gallery", "samples.draw_likeness")
    drawing = (*of_samples, "compare_arms.segmentation_gallery")
    for name in (*drawing, "compare_arms.draw_losses", "flare_fold.draw_losses", "federated.draw_losses"):
        patch.setattr(f"fedsim_tf.runs.{name}", lambda *_, **__: None)
    patch.setattr("fedsim_tf.evaluation.fold_page.choose_viewers", lambda *_, **__: ([], []))


@contextlib.contextmanager
def recorded_titles() -> Iterator[dict[str, list[str]]]:
    """Collects file name, and whole path, to title and headings of every figure saved.

    No letter can be read back from pixels.
    """
    with _recorded(_list_texts) as found:
        yield found


def _list_texts(figure: Figure) -> list[str]:
    of_axes = [(axis.get_title(), *(text.get_text() for text in axis.texts)) for axis in figure.axes]
    return [figure.get_suptitle(), *itertools.chain(*of_axes)]


@contextlib.contextmanager
def _recorded(texts_of: Callable[[Figure], list[str]]) -> Iterator[dict[str, list[str]]]:
    """Collects file name, and whole path, to texts of every figure saved."""
    found = {}
    save = Figure.savefig

    def recorded(figure, path, **settings):
        name = pathlib.Path(path).name.removeprefix(f".partial-{os.getpid()}-")
        found[name] = found[str(pathlib.Path(path).parent / name)] = [text for text in texts_of(figure) if text]
        save(figure, path, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", recorded)
        yield found


@pytest.fixture
def titles() -> Iterator[dict[str, list[str]]]:
    """`recorded_titles` during one test."""
    with recorded_titles() as found:
        yield found


@pytest.fixture
def legends() -> Iterator[dict[str, list[str]]]:
    """The names in the legend below every figure saved during one test, by file."""
    with _recorded(lambda figure: [t.get_text() for one in figure.legends for t in one.get_texts()]) as found:
        yield found


def blocks(*boxes: tuple[int, int], size: int = 8) -> Volumes:
    """Volumes with a bright block over slices first..last, 4 x 4 voxels each slice, labelled exactly."""
    labels = np.zeros((len(boxes), size, size, size), np.float32)
    for label, (first, last) in zip(labels, boxes, strict=True):
        label[first:last, 2:6, 2:6] = 1
    names = tuple(f"block_{number}" for number in range(len(boxes)))
    return Volumes(names, labels * 1.5 - 1.0, labels)


def by_threshold(image: np.ndarray) -> np.ndarray:
    """Finds `blocks` exactly."""
    return (image > 0).astype(np.uint8)

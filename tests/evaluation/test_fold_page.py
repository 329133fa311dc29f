"""The page of a fold: every patient, mean, spread and differences, who is who, and volumes to scroll."""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from fedsim_tf.evaluation import fold_page, slice_sheets
from fedsim_tf.evaluation.fold_page import FoldPage, describe_fold, write_fold_page
from fedsim_tf.evaluation.patient_tables import compare_patients, summarize_patients
from fedsim_tf.evaluation.shown_volumes import ShownVolume, read_shown_volumes, write_shown_volumes
from fedsim_tf.evaluation.slice_sheets import image_sheets, outline_sheets
from fedsim_tf.evaluation.tables import Table
from fedsim_tf.evaluation.viewers import choose_viewers, make_viewer
from fedsim_tf.metrics import mean_agreement
from fedsim_tf.records.fold_data import FoldData
from fedsim_tf.records.fold_scores import ArmScores, CaseScores
from fedsim_tf.regions import AORTA, MYOCARDIUM, REGIONS
from tests.evaluation.pages_for_tests import check_page, decode

EDGE, TILE, EXTENT_MM = 16, 64, (160.0, 120.0, 80.0)
DICE = {
    "lower_bound": {"anna": 80.0, "berta": 84.0, "clara": 83.0},
    "ours_full": {"anna": 85.0, "berta": 86.5, "clara": 89.0},
    "upper_bound": {"anna": 90.0, "berta": 91.0, "clara": 89.5},
}
PARTS = {
    "labelled": ("dora", "emma"),
    "upper bound": ("dora", "emma", "frida"),
    "validation": ("gerda",),
    "test": ("anna", "berta", "clara"),
    "unlabelled": ("frida", "hanna"),
}
STAGES = {
    "gan": {
        "steps": 4321,
        "seconds": 120.0,
        "losses": {"vgg": {"first": 0.98765, "last": 0.1234, "down": True}},
        "peak_bytes": 1.5e9,
    },
    "pretraining": {"steps": 8, "seconds": 5.0},
}


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(slice_sheets, "TILE", TILE)


def scored(by_patient):
    cases = {
        name: CaseScores(dice, dice - 10, 100 - dice, 2.0, 5.0, found_ml=500.0 + dice, true_ml=600.0)
        for name, dice in by_patient.items()
    }
    return ArmScores(**dataclasses.asdict(mean_agreement(cases.values())), cases=cases)


SCORES = {arm: scored(by_patient) for arm, by_patient in DICE.items()}


def note(**parts):
    return FoldData(
        shape_model="x",
        field_of_view_mm=EXTENT_MM,
        parts={part: dict.fromkeys(names, (0.0,)) for part, names in (PARTS | parts).items()},
    )


def volume(name="anna", *, arm="", ids=1, found=()):
    rng = np.random.default_rng(0)
    label = np.zeros((EDGE,) * 3, np.uint8)
    label[4:10, 5:12, 3:9] = ids
    image = rng.integers(0, 256, label.shape).astype(np.uint8)
    return ShownVolume(name, image, label, {one: np.roll(label, 1, axis=0) for one in found}, EXTENT_MM, arm)


SHOWN = [*(volume(name, found=tuple(DICE)) for name in PARTS["test"]), volume("synthetic 0", arm="ours_full")]


def page(tmp_path, **changes):
    picture = tmp_path / "segmentations.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(picture)
    (tmp_path / "top.html").write_text("")
    contents = {
        "title": "phantom cohort (ct20), fold 0",
        "scores": SCORES,
        "data": note(),
        "shown": (),
        "pictures": [picture],
        "volumes": Table(("data", "measure", "Ours-Full"), [["ct20 4", "mean, lung, HU", "-800 / -801"]]),
        "stages": STAGES,
        "is_phantom": True,
    }
    write_fold_page(tmp_path / "report.html", FoldPage(**{**contents, **changes}), top="top.html")
    return check_page(tmp_path / "report.html")


def test_every_test_patient_has_scores_volumes_and_a_picture_for_each_arm(tmp_path):
    found = page(tmp_path, shown=SHOWN)
    assert ["annaheart 600 ml", "Lower bound (real labels only)", "80.0", "20.0", "580", "-20.0", "-3.3", ""] in [
        [row[0].replace("\n", ""), *row[1:]] for row in found.rows if row
    ]
    assert ["Ours-Full", "86.5", "13.5", "586", "-13.5", "-2.2", ""] in found.rows
    assert len(found.sources) == 3 * (1 + 3) + 1  # patients with label and three arms, and the picture


def test_who_is_who_is_told_by_name(tmp_path):
    rows = page(tmp_path).rows
    assert ["trained on, with their annotation", "2", "dora, emma"] in rows
    assert ["trained on as unannotated, the image alone", "2", "frida, hanna"] in rows
    assert ["validated: chose when training had done best", "1", "gerda"] in rows
    assert ["tested: seen by no training", "3", "anna, berta, clara"] in rows
    assert any(row[1:] == ["1", "frida"] and "upper bound alone" in row[0] for row in rows)


def test_mean_spread_and_differences_are_numpys_and_scipys():
    values = {arm: np.array(list(by_patient.values())) for arm, by_patient in DICE.items()}
    rows = {row[0]: row for row in summarize_patients(SCORES).rows}
    full = values["ours_full"]
    assert rows["Ours-Full"][1] == f"{full.mean():.2f} ± {full.std(ddof=1):.2f}"
    assert rows["Ours-Full"][3] == f"{(full - 100).mean():.2f} ± {full.std(ddof=1):.2f}"
    differences = {(row[0], row[1]): row for row in compare_patients(SCORES).rows}
    row = differences["Ours-Full", "Lower bound (real labels only)"]
    test = stats.ttest_rel(full, values["lower_bound"])
    assert row[2:4] == [f"{np.mean(full - values['lower_bound']):+.2f}", f"{test.pvalue:.3f}"]
    assert row[4] == f"{-np.mean(full - values['lower_bound']):+.2f}"  # HD95 goes the other way here
    assert row[-1] == "3"
    assert (
        compare_patients({**SCORES, "upper_bound": SCORES["lower_bound"]}, [("upper_bound", "lower_bound")]).rows == []
    )


def test_patients_are_paired_by_name_not_by_place():
    turned = dict(reversed(DICE["ours_full"].items()))
    both = {"lower_bound": SCORES["lower_bound"], "ours_full": scored(turned | {"zoe": 10.0})}
    assert compare_patients(both).rows == compare_patients(SCORES, [("ours_full", "lower_bound")]).rows


@pytest.mark.parametrize(
    ("scores", "parts", "words"),
    [
        (SCORES, {}, ()),
        (SCORES | {"upper_bound": SCORES["lower_bound"]}, {"upper bound": ("emma", "dora")}, ("trained once",)),
        (SCORES, {"upper bound": ("emma", "dora"), "unlabelled": ()}, ("by is chance", "no unannotated volume")),
        ({"fix_mat_alone": SCORES["ours_full"]}, {}, ("is the network of Ours-Fix-Mat before",)),
    ],
)
def test_what_equals_what_is_said(tmp_path, scores, parts, words):
    text = " ".join(page(tmp_path, scores=scores, data=note(**parts)).texts)
    assert ("What equals what" in text) == bool(words)
    assert all(one in text for one in words)


def test_times_and_losses_are_in_words(tmp_path):
    rows = page(tmp_path).rows
    assert ["gan", "4321", "2 min", "1.5 GB"] in rows
    assert ["pretraining", "8", "5 s", ""] in rows
    assert ["all 2 stages", "", "2 min", "1.5 GB"] in rows
    assert ["gan", "vgg", "0.9877", "0.1234", "down"] in rows


def test_phantoms_are_said_to_be_no_patients_and_patients_to_be_some(tmp_path):
    phantoms, patients = (page(tmp_path, is_phantom=one).ids for one in (True, False))
    assert ("phantoms" in phantoms, "patients-shown" in phantoms) == (True, False)
    assert ("phantoms" in patients, "patients-shown" in patients) == (False, True)


def test_old_folds_without_volumes_or_a_note_still_have_a_page(tmp_path):
    cases = {"anna": CaseScores(80.0, 70.0, 3.0, 1.0, 5.0)}
    old = {"lower_bound": ArmScores(80.0, 70.0, 3.0, 1.0, 5.0, cases=cases)}
    found = page(tmp_path, scores=old, data=None, stages={}, pictures=[])
    assert (found.sheets, found.sources) == ([], [])
    assert ["80.0", "3.0", "-", "-", "5.0", ""] in [row[2:] for row in found.rows]


def test_sliders_move_through_all_slices_of_the_volume_and_of_each_outline(tmp_path):
    found = page(tmp_path, shown=SHOWN)
    assert [(count, len(layers)) for count, layers in found.sheets] == [(EDGE, 5)] * 9 + [(EDGE, 2)] * 3
    assert all(decode(uri).size == (TILE, TILE * EDGE) for _, layers in found.sheets for uri in layers)


def test_sheets_show_slices_in_three_planes_in_their_order():
    """One bright voxel: its slice and its place there in each plane, told from the enlarged sheet."""
    image = np.zeros((EDGE,) * 3, np.uint8)
    image[3, 5, 11] = 255
    factor = TILE // EDGE
    for uri, place in zip(image_sheets(image), ((3, 5, 11), (5, EDGE - 1 - 3, 11), (11, EDGE - 1 - 3, 5)), strict=True):
        sheet = np.asarray(decode(uri).convert("L")).reshape(EDGE, TILE, TILE)
        brightest = np.unravel_index(np.argmax(sheet), sheet.shape)
        assert (brightest[0], brightest[1] // factor, brightest[2] // factor) == place


def test_outlines_run_round_the_heart_and_are_clear_elsewhere():
    label = np.zeros((EDGE,) * 3, np.uint8)
    label[2:6, 4:8, 4:12] = 1
    (axial, _, _) = outline_sheets(label, colour="#ff0000")
    colours = np.asarray(decode(axial).convert("RGBA")).reshape(EDGE, TILE, TILE, 4)
    assert not colours[[0, 6], ..., 3].any()
    drawn = colours[3, ..., 3] > 0
    np.testing.assert_array_equal(colours[3][drawn], [[255, 0, 0, 255]] * drawn.sum())
    factor = TILE // EDGE
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max()) == (4 * factor, 8 * factor - 1)
    assert (columns.min(), columns.max()) == (4 * factor, 12 * factor - 1)
    assert not drawn[5 * factor : 7 * factor, 6 * factor : 10 * factor].any()


def test_regions_have_their_own_colours():
    one = volume(ids=MYOCARDIUM, found=("ours_full",))
    one.label[4:6, 5:7, 3:5] = AORTA
    viewer = make_viewer(one)
    assert [(layer.title, layer.colour) for layer in viewer.layers] == [("label", None), ("Ours-Full", None)]
    colours = np.asarray(decode(viewer.layers[0].sheets[0]).convert("RGBA")).reshape(-1, 4)
    assert {tuple(colour[:3]) for colour in np.unique(colours[colours[:, 3] > 0], axis=0)} == {
        REGIONS[MYOCARDIUM].rgb,
        REGIONS[AORTA].rgb,
    }


def test_a_page_is_left_without_volumes_that_would_make_it_too_heavy(tmp_path, monkeypatch):
    each = make_viewer(SHOWN[0]).size
    viewers, left_out = choose_viewers(SHOWN, room=3 * each)
    assert [one.title for one in viewers] == ["anna", "berta", "Ours-Full: synthetic 0"]  # the synthetic one in between
    assert left_out == ["clara"]
    whole = FoldPage(
        title="t",
        scores=SCORES,
        data=None,
        shown=SHOWN,
        pictures=[],
        volumes=Table((), []),
        stages={},
        is_phantom=True,
    )
    monkeypatch.setattr(fold_page, "MOST_BYTES", 1000)
    assert describe_fold(whole)["left_out"] == ["anna", "berta", "clara", "Ours-Full: synthetic 0"]
    found = page(tmp_path, shown=SHOWN)
    assert found.sheets == []
    assert "left-out" in found.ids


def test_shown_volumes_are_read_back_as_they_were_written(tmp_path):
    write_shown_volumes(tmp_path / "v.npz", SHOWN)
    for one, other in zip(read_shown_volumes(tmp_path / "v.npz"), SHOWN, strict=True):
        assert (one.name, one.arm, one.extent_mm, list(one.found)) == (
            other.name,
            other.arm,
            other.extent_mm,
            list(other.found),
        )
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.label, other.label)
        for arm in one.found:
            np.testing.assert_array_equal(one.found[arm], other.found[arm])


_IN_THE_BROWSER = """<script>
const slider = document.querySelector(".plane input"), box = document.querySelectorAll(".layers input")[1];
const layer = () => document.querySelectorAll(".plane .layer")[0].style.backgroundPosition;
const before = layer();
slider.value = slider.max; slider.dispatchEvent(new Event("input"));
const hidden = document.querySelector('[data-layer="1"]').hidden;
box.click();
document.querySelector(".slice").dispatchEvent(new WheelEvent("wheel", {deltaY: 1, cancelable: true}));
const words = document.querySelector("output").textContent;
document.title = [before, layer(), words, hidden, document.querySelector('[data-layer="1"]').hidden].join("|");
</script>"""


def test_sliders_and_boxes_work_in_a_browser(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page(tmp_path, shown=SHOWN)
    file = tmp_path / "report.html"
    file.write_text(file.read_text().replace("</body>", f"{_IN_THE_BROWSER}</body>"))
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom")
    found = subprocess.run([browser, *options, file.as_uri()], capture_output=True, text=True, timeout=120)
    title = found.stdout.partition("<title>")[2].partition("</title>")[0]
    before, after, words, was_hidden, is_hidden = title.split("|")
    middle = 100 * 4 / (EDGE - 1)  # the first slice with the heart
    assert float(before.split()[1].rstrip("%")) == pytest.approx(middle, abs=0.01)
    assert float(after.split()[1].rstrip("%")) == pytest.approx(
        100 * (EDGE - 2) / (EDGE - 1), abs=0.01
    )  # wheel: one back
    assert words == f"{EDGE - 1} of {EDGE}"
    assert (was_hidden, is_hidden) == ("true", "false")

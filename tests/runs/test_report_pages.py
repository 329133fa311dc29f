"""Pages of runs with several folds and sites: one at the top leads to all others, wherever the folder lies."""

import shutil

from fedsim_tf.evaluation.shown_volumes import SHOWN_VOLUMES
from fedsim_tf.records.fold_data import DATA, FoldData
from fedsim_tf.records.run_metrics import RunFacts, RunMetrics
from fedsim_tf.records.versioned import write_record
from fedsim_tf.runs.report_pages import write_pages, write_pages_of_fold
from fedsim_tf.training.run import RunFolder, site_path
from tests.evaluation.pages_for_tests import check_page
from tests.evaluation.records_for_tests import scores
from tests.training.toy_site import toy_config

CONFIG = toy_config(data={"folds": 2})
CASES = {"anna": scores(80.0)}


def facts(experiment, labelled):
    return RunFacts(data="phantom cohort (ct20)", experiment=experiment, labelled=labelled)


def write_note(folder):
    parts = {"labelled": {"berta": (0.0,)}, "test": {"anna": (0.0,)}}
    write_record(folder / DATA, FoldData(shape_model="x", field_of_view_mm=(9.0, 9.0, 9.0), parts=parts))


def run_of_sites(path):
    """Two folds at two sites, each with a note of its data and a stage of its own."""
    run = RunFolder(path, CONFIG)
    for number in range(2):
        fold = run.fold(number)
        fold.finish("pretraining", {"steps": 7, "seconds": 9.0})
        for site in ("ct20", "ct34lc"):
            fold.site(site).finish("gan", {"steps": 5, "seconds": 4.0})
            write_note(site_path(fold.path, site))
    by_arm = {"lower_bound": scores(70.0), "ours_sim_fl": scores(80.0)}
    folds = tuple(dict.fromkeys(("ct20", "ct34lc"), by_arm) for _ in range(2))
    return run, RunMetrics(facts=facts("federated", {"ct20": 4, "ct34lc": 6}), folds=folds)


def test_one_page_leads_to_every_fold_site_and_arm_and_the_folder_can_be_moved(tmp_path):
    run, metrics = run_of_sites(tmp_path / "run")
    top = write_pages(run, metrics, title="Federated")
    shutil.move(run.path, tmp_path / "moved")
    found = check_page(tmp_path / "moved" / top.name)
    pages = {f"fold_{number}/sites/{site}/report.html" for number in range(2) for site in ("ct20", "ct34lc")}
    assert {link.partition("#")[0] for link in found.links} == pages
    assert {link.partition("#")[2] for link in found.links} == {"", "arm-lower_bound", "arm-ours_sim_fl"}
    assert {str(file.relative_to(tmp_path / "moved")) for file in (tmp_path / "moved").rglob("*.html")} == {
        *pages,
        "report.html",
    }
    assert ["fold_1/pretraining", "7", "9 s", ""] in found.rows
    for page in pages:
        below = check_page(tmp_path / "moved" / page)
        assert "../../../report.html" in below.links
        assert ["gan", "5", "4 s", ""] in below.rows
        assert ["tested: seen by no training", "1", "anna"] in below.rows
        assert below.headings[0] == f"phantom cohort ({page.split('/')[2]}), fold {page[5]}"


def test_a_run_of_one_fold_has_one_page_with_everything(tmp_path):
    run = RunFolder(tmp_path / "run", toy_config())
    run.fold(0).finish("gan", {"steps": 5, "seconds": 4.0})
    write_note(run.path / "fold_0")
    metrics = RunMetrics(facts=facts("single_site", 4), folds=({"ct20": {"lower_bound": scores(70.0)}},))
    found = check_page(write_pages(run, metrics, title="Single"))
    assert ["gan", "5", "4 s", ""] in found.rows
    assert {"who", "patients", "segmentation"} <= set(found.ids)
    assert len(list(run.path.rglob("*.html"))) == 1


def test_a_fold_that_is_finished_alone_has_a_page(tmp_path):
    run = RunFolder(tmp_path / "run", CONFIG)
    write_note(run.fold(1).path)
    (run.path / "fold_1" / SHOWN_VOLUMES).write_bytes(b"damaged")  # the page is made without
    (page,) = write_pages_of_fold(run, 1, {"ct20": {"lower_bound": scores(70.0)}}, facts("single_site", 4))
    assert page == run.path / "fold_1" / "report.html"
    (run.path / "report.html").write_text("later")
    assert "fold 1" in check_page(page).headings[0]

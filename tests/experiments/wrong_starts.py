"""Wrong starts of every command: what is typed, what has to be said, and the files that it takes.

`python -m tests.experiments.wrong_starts FOLDER` runs the dry runs among them with TensorFlow out of reach.
"""

import dataclasses
import json
import pathlib
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image

from fedsim_tf.config import make_config
from fedsim_tf.federated.kept_rounds import KeptRound, keep_round
from fedsim_tf.files import write_json
from fedsim_tf.generator.folder import NETWORKS, write_generator
from fedsim_tf.models.vgg_weights import identify_weights
from fedsim_tf.records.fold_data import SliceData
from fedsim_tf.records.fold_scores import SCORES, ArmScores, CaseScores, FoldScores
from fedsim_tf.records.generator_card import GeneratorCard
from fedsim_tf.records.versioned import write_record
from fedsim_tf.shape.ssm import PHANTOM_MODEL, StatisticalShapeModel
from fedsim_tf.tools.sample import SamplingRecord
from tests.runs.toy_cohorts import ball, write, write_own_cohort, write_shapes

REAL = ("--dataset=nifti", "--preset=demo", "--data_labels=2", "--data_folds=1", "--model_shape_modes=4")
REAL += ("--model_shape_model=shapes.npz", "--cache_dir=cache")
SMALL = "--preset=small"
NO_PRESET = "--preset is not given; it must be given with real data: "
OTHER_ARMS = "--segmentation_arms=lower_bound"


class WrongStart(NamedTuple):
    """What is typed, and words of the only line that is said. `needs_tensorflow`: for a check that computes."""

    command: str
    flags: tuple[str, ...]
    words: tuple[str, ...]
    needs_tensorflow: bool = False


def real(*flags, words):
    """Return a wrong start of a single-site run on real data."""
    given = {flag.partition("=")[0] for flag in flags}
    return WrongStart("single_site", (*(f for f in REAL if f.partition("=")[0] not in given), *flags), words)


def sampled(*flags, words):
    """Return a wrong start of sampling, of the generator that is there unless another one is given."""
    usual = ("--generator=generator", "--output=samples", "--cache_dir=cache")
    given = {flag.partition("=")[0] for flag in flags}
    return WrongStart("sample", (*(f for f in usual if f.partition("=")[0] not in given), *flags), words)


TABLE = [
    # values
    WrongStart("single_site", ("--gan_steps=-1",), ("--gan_steps is -1; it must be at least 1",)),
    WrongStart("single_site", ("--model_size=48",), ("--model_size is 48; it must be one of 32, 64, 128",)),
    WrongStart("single_site", ("--gan_generator_rate=nan",), ("--gan_generator_rate is nan",)),
    WrongStart("single_site", ("--seed=9999999999",), ("--seed is 9999999999; it must be at most",)),
    WrongStart("single_site", ("--data_window_low_hu=2000",), ("--data_window_low_hu is 2000.0",)),
    WrongStart("single_site", ("--segmentation_arms=ours_best",), ("--segmentation_arms is ours_best",)),
    WrongStart("single_site", ("--segmentation_arms=",), ("--segmentation_arms is ",)),
    WrongStart("single_site", ("--method=direct_fl",), ("--segmentation_arms is direct_fl", "a single site")),
    WrongStart("single_site", ("--method=ours_pre", "--segmentation_arms=ours_pre"), ("--method is ours_pre",)),
    WrongStart("single_site", ("--only_fold=3",), ("--only_fold is 3; it must be 0",)),
    WrongStart("single_site", ("--data_folds=6",), ("--data_folds is 6; it must be at most 5",)),
    WrongStart("single_site", ("--data_phantom_version=99",), ("--data_phantom_version is 99",)),
    WrongStart(
        "single_site",
        ("--method=ours_fix_mat", "--data_window_low_hu=-200"),
        ("--data_window_low_hu to --data_window_high_hu is -200 to 1000 HU",),
    ),
    WrongStart("single_site", ("--data_labels=1",), ("--data_labels is 1; it must be at least 2",)),
    WrongStart("single_site", ("--dataset=ct20", "--data_labels=13"), ("--data_labels is 13", "20 phantoms of ct20")),
    WrongStart("single_site", ("--dataset=nifti",), ("--data_root is not given", "scans of nifti")),
    # real data without a preset
    WrongStart("single_site", ("--dataset=ct20", "--data_root=data"), (NO_PRESET, "demo (32", "paper (128; weeks on")),
    WrongStart("single_site", ("--dataset=nifti", "--data_root=nowhere", "--gan_steps=1"), (NO_PRESET,)),
    WrongStart("ablation", ("--data_root=data",), (NO_PRESET,)),
    WrongStart("federated", ("--data_root=data",), (NO_PRESET,)),
    WrongStart("paper_tables", ("--data_root=data", "--sites=ct20"), (NO_PRESET,)),
    WrongStart("slices", ("--images=png", "--labels=png"), (NO_PRESET,)),
    # files
    real("--data_root=nowhere", words=("--data_root is nowhere; it must be a file or folder",)),
    real("--data_root=data", "--model_shape_model=no.npz", words=("--model_shape_model is no.npz",)),
    real("--data_root=data", "--model_vgg_weights=no.npz", words=("--model_vgg_weights is no.npz",)),
    real("--data_root=data", "--model_vgg_weights=shapes.npz", words=("shapes.npz: found no block1_conv1/kernel",)),
    real("--data_root=data", "--model_shape_model=damaged.npz", words=("damaged.npz: found a damaged file",)),
    real("--data_root=data", "--model_shape_modes=12", words=("12",)),
    real("--data_root=data", "--model_shape_model=of_tests.npz", words=("of_tests.npz", "validate or test")),
    real("--data_root=data", "--data_labels=30", words=("--data_labels is 30; it must be at most 3",)),
    real("--data_root=data", "--data_folds=5", "--data_labels=4", words=("--data_labels is 4",)),
    real("--data_root=unlabelled", words=("unlabelled: found 3 images of nifti and no label",)),
    real("--data_root=cut_short", words=("case_1.nii.gz",)),
    real("--data_root=other_grid", words=("case_0.nii.gz",)),
    real("--data_root=text", words=("case_1.nii.gz",)),
    # run folders
    real("--data_root=data", "--run_dir=text/images/note.txt", words=("note.txt: found a file",)),
    real("--data_root=data", "--run_dir=data", words=("data: found a folder that is no run",)),
    real("--data_root=data", "--run_dir=other_run", words=("other_run", "--gan_steps=77", "(now ")),
    real("--data_root=data", "--run_dir=federated_run", words=("federated_run: found a federated run",)),
    # other commands
    WrongStart("ablation", ("--data_labels=13",), ("--data_labels is 13",)),
    WrongStart("ablation", ("--run_dir=data",), ("data: found a folder that is no run",)),
    WrongStart("federated", ("--federated_sites=ct20,nowhere",), ("--data_root is not given", "nowhere")),
    WrongStart("federated", ("--federated_sites=ct20,ct20",), ("--federated_sites", "ct20")),
    WrongStart("federated", ("--federated_sites=../x",), ("--federated_sites", "../x")),
    WrongStart("federated", ("--federated_quorum=4",), ("--federated_quorum is 4; it must be at most 3",)),
    WrongStart("federated", ("--federated_noise_multiplier=1",), ("--federated_clip_norm is 0.0",)),
    WrongStart("federated", ("--method=random_shape",), ("--method is random_shape",)),
    WrongStart("federated", ("--data_labels=2",), ("--data_labels is 2; it must be at least 3", "latents_of")),
    WrongStart("federated", ("--flare_kit=data",), ("--flare_kit is data; it must be given with --engine=nvflare",)),
    WrongStart(
        "federated",
        ("--preset=demo", "--engine=nvflare", "--flare_kit=data"),
        ("--flare_kit is data", "an admin's kit"),
    ),
    WrongStart("federated", ("--engine=nvflare", "--flare_kit=data"), ("--preset is not given", "with real data")),
    WrongStart("federated", ("--run_dir=single_run",), ("single_run: found a single-site run",)),
    WrongStart("paper_tables", ("--sites=ct99",), ("--sites is ct99", "ct20, ct34lc, ct34mc")),
    WrongStart("paper_tables", ("--label_kinds=heart,lungs",), ("--label_kinds is lungs", "heart, regions")),
    WrongStart("paper_tables", ("--parts=ablation",), ("parts", "ablation alone")),
    WrongStart("paper_tables", ("--launcher=slurm",), ("--model_precision is auto", "another kind")),
    WrongStart("paper_tables", ("--cluster=slurm_partition=gpu",), ("--cluster is slurm_partition=gpu",)),
    WrongStart("paper_tables", ("--data_root=nowhere", "--preset=demo"), ("--data_root is nowhere",)),
    WrongStart("paper_tables", ("--data_folds=9",), ("--data_folds is 9",)),
    WrongStart("prepare", ("--dataset=nifti",), ("--data_root is not given",)),
    WrongStart("prepare", ("--dataset=nifti", "--data_root=nowhere"), ("--data_root is nowhere",)),
    WrongStart("prepare", ("--dataset=nifti", "--data_root=shapes"), ("data set nifti: found no",)),
    WrongStart("build_ssm", ("--labels=nowhere", "--out=m.npz"), ("nowhere: found no such folder",)),
    WrongStart("build_ssm", ("--out=m.npz",), ("--labels and --shapes: found neither",)),
    WrongStart("build_ssm", ("--shapes=phantom", "--modes=40", "--out=m.npz"), ("--modes: found 40 with 40",)),
    WrongStart("build_ssm", ("--shapes=phantom", "--out=m.vtk"), ("--out is m.vtk",)),
    WrongStart("build_ssm", ("--labels=data/labels", "--regions=1,x", "--out=m.npz"), ("--regions is 1,x",)),
    WrongStart("build_ssm", ("--shapes=shapes.npz", "--out=./shapes.npz"), ("--out is shapes.npz",)),
    WrongStart("build_ssm", ("--shapes=phantom", "--fold=0", "--out=m.npz"), ("--fold is given with --shapes",)),
    WrongStart(
        "build_ssm",
        ("--labels=data/labels", "--data_label_values=liver:1", "--modes=2", "--out=m.npz"),
        ("--data_label_values is 'liver:1'; it must name regions",),
    ),
    WrongStart("build_ssm", ("--labels=cut_short/images", "--modes=2", "--out=m.npz"), ("cut_short/images/case_",)),
    WrongStart("segment", ("--fold_dir=no", "--image=a.nii.gz", "--output=b.nii.gz"), ("no: found no config.json",)),
    WrongStart(
        "segment",
        ("--fold_dir=single_run/fold_0", "--image=data/images/case_0.nii.gz", "--output=b.nii.gz"),
        ("single_run/fold_0: found no arm that is finished",),
    ),
    WrongStart(
        "segment",
        ("--fold_dir=done", "--arm=ours_pre", "--image=data/images/case_0.nii.gz", "--output=b.nii.gz"),
        ("--arm is ours_pre", "lower_bound"),
    ),
    WrongStart(
        "segment",
        ("--fold_dir=done", "--arm=lower_bound", "--image=none.nii.gz", "--output=b.nii.gz"),
        ("none.nii.gz",),
    ),
    WrongStart(
        "segment",
        ("--fold_dir=done", "--arm=lower_bound", "--image=text/images/case_1.nii.gz", "--output=b.nii.gz"),
        ("text/images/case_1.nii.gz",),
    ),
    WrongStart(
        "segment",
        ("--fold_dir=done", "--image=data/images/case_0.nii.gz", "--output=data/images/case_0.nii.gz"),
        ("case_0.nii.gz: found a file to write that is given as another one too",),
    ),
    WrongStart(
        "segment",
        ("--fold_dir=done", "--arm=lower_bound", "--image=data/images/case_0.nii.gz", "--output=b.nii.gz"),
        ("done", "lower_bound"),  # whose checkpoint is gone
        needs_tensorflow=True,
    ),
    WrongStart("export", ("--fold_dir=no", "--output=out"), ("no: found no config.json",)),
    WrongStart(
        "export",
        ("--fold_dir=done", "--arm=ours_pre", "--output=out"),
        ("--arm is ours_pre", "lower_bound"),
    ),
    WrongStart(
        "export",
        ("--fold_dir=done", "--arm=lower_bound", "--output=data"),
        ("data: found a folder with other files",),
    ),
    WrongStart(
        "export",
        ("--fold_dir=done", "--arm=lower_bound", "--output=shapes.npz"),
        ("shapes.npz: found a file; expected a folder",),
    ),
    WrongStart(
        "export",
        ("--fold_dir=done", "--arm=lower_bound", "--output=out"),
        ("done", "lower_bound"),  # whose checkpoint is gone
        needs_tensorflow=True,
    ),
    sampled("--generator=no", words=("no: found no such folder; expected a generator's folder",)),
    sampled("--generator=single_run", words=("single_run: found no generator.json",)),
    sampled("--generator=cut_generator", words=("cut_generator/shape.npz: found another file than SHA256SUMS says",)),
    sampled("--rendering=data", words=("data: found no generator.json",)),
    sampled("--rendering=finer", words=("--rendering is finer; it must have size 32 as generator has, not 64",)),
    sampled("--output=data", words=("data: found a folder with other files",)),
    sampled("--output=shapes.npz", words=("shapes.npz: found a file",)),
    sampled("--output=sampled", words=("--generator is generator; it must be the same as for the volumes in sampled",)),
    sampled("--label_values=lv:1", words=("--label_values is 'lv:1'; it must be the heart alone",)),
    sampled("--label_values=heart:2", "--format=nnunet", words=("--label_values is 'heart:2'", "for nnunet")),
    sampled("--interpolate=1", words=("--interpolate is 1; it must be the numbers of two samples",)),
    sampled("--interpolate=1,x", words=("--interpolate is 1,x; it must be whole numbers",)),
    sampled("--interpolate=0,1", "--count=1", words=("--count is 1; it must be at least 2",)),
    sampled("--modes=0", words=("--modes is '0'; it must be modes with weights",)),
    sampled("--modes=2:1", words=("--modes is 2:1; it must name modes from 0 to 1",)),
    sampled("--modes=0:9", words=("--modes is 0:9; it must have weights within 3 standard deviations",)),
    sampled("--spread=nan", words=("--spread is nan",)),
    sampled("--run=data", words=("data: found no run",)),
    sampled("--run=third_run", words=("--run is third_run; it must be one on ct34lc",)),
    WrongStart("slices", (SMALL, "--images=no", "--labels=no"), ("no: found no PNG files",)),
    WrongStart("slices", (SMALL, "--images=png", "--labels=png", "--held_out=9"), ("--held_out is 9",)),
    WrongStart("slices", (SMALL, "--images=png", "--labels=no"), ("no: found no 0.png",)),
    WrongStart(
        "slices", (SMALL, "--images=png", "--labels=png", "--held_out=1", "--run_dir=data"), ("data: found a folder",)
    ),
    WrongStart(
        "slices",
        ("--images=png", "--labels=png", "--held_out=2", "--preset=demo", "--run_dir=slices_run"),
        ("--held_out is 2; it must be 1",),
    ),
    WrongStart("out_of_distribution", ("--patients=data", "--hospital=data"), ("--hospital is data",)),
    WrongStart("out_of_distribution", ("--patients=no", "--hospital=data"), ("no: found no run",)),
    WrongStart(
        "out_of_distribution",
        ("--patients=other_run", "--hospital=single_run"),
        ("other_run: found no run",),
    ),
    WrongStart(
        "out_of_distribution",
        ("--patients=single_run", "--hospital=third_run"),
        ("third_run/fold_0: found no finished stage semi_supervised",),
    ),
    WrongStart("federated_audit", ("--run_dir=no", "--site=a"), ("no: found no federated run with sites",)),
    WrongStart("federated_audit", ("--run_dir=single_run", "--site=a"), ("single_run: found no federated run",)),
    WrongStart("federated_audit", ("--run_dir=kept_run", "--site=b"), ("--site is b", "a site of kept_run: a, ct20")),
    WrongStart("federated_audit", ("--run_dir=kept_run", "--site=ct20"), ("kept_run: found no kept rounds of ct20",)),
    WrongStart("federated_audit", ("--run_dir=kept_run", "--site=a"), ("--dataset is a", "that has phantoms: ct20")),
    WrongStart("federated_audit", ("--run_dir=cut_run", "--site=ct20"), ("round-000003.npz: found a damaged file",)),
    WrongStart("compare", ("--run=no",), ("no: found no config.json; expected a run's folder",)),
    WrongStart("compare", ("--run=single_run",), ("single_run: found no finished fold",)),
    WrongStart("compare", ("--run=scored", "--run=./scored"), ("--run is scored; it must be given once",)),
    WrongStart("compare", ("--run=scored", "--run=cut_scores"), ("cut_scores/fold_0/scores.json: found damaged",)),
    WrongStart("compare", ("--run=scored", "--run=scored_finer"), ("scored_finer: found volumes of 64^3 voxels",)),
    WrongStart("compare", ("--run=scored", "--run=scored_others"), ("scored_others: found patients other than",)),
    WrongStart("compare", ("--run=scored", "--output=shapes.npz"), ("--output is shapes.npz; it must be a folder",)),
    WrongStart("phantom_cohort", ("--output=out", "--shapes=no.npz"), ("no.npz",)),
    WrongStart("phantom_cohort", ("--output=out", "--shapes=shapes.npz"), ("shapes: found regions 1, 2",)),
    WrongStart("phantom_cohort", ("--output=data/images",), ("data/images: found files of an unknown recipe",)),
    WrongStart("federated_member", ("--kit=data", "--runs_dir=out"), ("--kit is data",)),
    WrongStart("federated_member", ("--kit=kit", "--runs_dir=shapes.npz"), ("--runs_dir is ", "is a file")),
    WrongStart("federated_member", ("--kit=kit", "--runs_dir=out"), ("--data_root is not given", "scans of kit")),
    WrongStart(
        "federated_member",
        ("--kit=kit", "--runs_dir=out", "--dataset=nifti", "--data_root=unlabelled"),
        ("cohort nifti", "at least 3"),
    ),
]


def make_files(root: pathlib.Path) -> None:
    """Write what the wrong starts find: data sets, runs of other kinds, damaged files."""
    write_own_cohort(root / "data")
    write_own_cohort(root / "unlabelled", annotated=0, unannotated=3)
    write_own_cohort(root / "cut_short", annotated=4)
    whole = (root / "cut_short" / "images" / "case_1.nii.gz").read_bytes()
    (root / "cut_short" / "images" / "case_1.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_own_cohort(root / "other_grid", annotated=4)
    write(root / "other_grid" / "labels" / "case_0.nii.gz", ball(0)[1], origin=(99.0, 0.0, 0.0))
    write_own_cohort(root / "text", annotated=4)
    (root / "text" / "images" / "case_1.nii.gz").write_text("no volume")
    (root / "text" / "images" / "note.txt").write_text("a note")
    write_shapes(root / "shapes.npz")
    (root / "shapes").mkdir()
    (root / "damaged.npz").write_bytes((root / "shapes.npz").read_bytes()[:500])
    with np.load(root / "shapes.npz") as shapes:  # of subjects that have the names of all patients
        names = np.array([f"case_{k}" for k in range(len(shapes["shapes"]))])
        np.savez(root / "of_tests.npz", **shapes, subjects=names)
    (root / "kit" / "startup").mkdir(parents=True)
    (root / "kit" / "startup" / "fed_client.json").write_text("{}")
    (root / "png").mkdir()
    for number in range(3):
        picture = np.pad(np.full((4, 4), 80 * number, np.uint8), 2)  # also a mask: something in the middle
        Image.fromarray(picture).save(root / "png" / f"{number}.png")
    for name, steps in (("other_run", 77), ("single_run", 5), ("third_run", 5), ("federated_run", 5)):
        config = make_config("demo", dataset="nifti", gan={"steps": steps})
        write_json(root / name / "config.json", config.to_dict())
    config = make_config("demo", dataset="ct20", model={"precision": "float32"})
    write_json(root / "single_run" / "config.json", config.to_dict())
    for name in ("single_run", "third_run"):
        write_json(root / name / "fold_0" / "config.json", config.of_fold(0).to_dict())
        (root / name / "fold_0" / "data.json").write_text("{}")
    _make_generators(root)
    (root / "federated_run" / "fold_0" / "sites" / "a").mkdir(parents=True)
    _take_up(root / "federated_run" / "config.json")
    _keep_rounds(root)
    done = make_config("demo", model={"precision": "float32"}, segmentation={"arms": ("lower_bound",)})
    write_json(root / "done" / "config.json", done.to_dict())
    write_json(root / "done" / "stages" / "segmentation" / "lower_bound" / "finetune.json", {"steps": 3})
    config = make_config("demo", model={"precision": "float32"})
    write_json(root / "slices_run" / "config.json", config.to_dict())
    for name, size, patient in (("scored", 32, "a"), ("scored_finer", 64, "a"), ("scored_others", 32, "b")):
        config = make_config("demo", dataset="nifti", model={"size": size})
        write_json(root / name / "config.json", config.to_dict())
        case = CaseScores(80.0, 70.0, 3.0, 1.0, 5.0)
        arms = {"lower_bound": ArmScores(80.0, 70.0, 3.0, 1.0, 5.0, {patient: case})}
        write_record(root / name / "fold_0" / SCORES, FoldScores({"nifti": arms}))
    write_json(root / "cut_scores" / "config.json", config.to_dict())
    (root / "cut_scores" / "fold_0").mkdir()
    (root / "cut_scores" / "fold_0" / SCORES).write_text("{")
    write_record(root / "slices_run" / "data.json", SliceData(vgg=identify_weights("random"), held_out=1, pictures={}))


def _keep_rounds(root: pathlib.Path) -> None:
    """Write federated runs, of which one site has kept a round, one has not, and one has a damaged one."""
    one = {"shape/0": np.zeros((2, 3), np.float32)}
    for run, site in (("kept_run", "a"), ("kept_run", "ct20"), ("cut_run", "ct20")):
        folder = root / run / "fold_0" / "sites" / site
        write_json(folder / "config.json", make_config("demo", model={"precision": "float32"}).to_dict())
        if (run, site) != ("kept_run", "ct20"):
            keep_round(folder, KeptRound("pretraining", 3, one, one, ("x",)), most=1)
    damaged = root / "cut_run" / "fold_0" / "sites" / "ct20" / "sent_rounds" / "pretraining" / "round-000003.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])


def _make_generators(root: pathlib.Path) -> None:
    """Write generators whose networks are left out: what is refused is refused before these are built."""
    model = StatisticalShapeModel.load(PHANTOM_MODEL)
    model = dataclasses.replace(model, modes=model.modes[:2], std=model.std[:2])
    for name, size in (("generator", 32), ("finer", 64), ("cut_generator", 32)):
        config = make_config("demo", model={"size": size, "latent": 3, "shape_modes": 2, "precision": "float32"})
        card = GeneratorCard(
            arm="ours_full",
            data_set="ct34lc",
            phantom=True,
            annotated=4,
            unannotated=8,
            field_of_view_mm=(200.0, 200.0, 200.0),
            settings={"model": config.to_dict()["model"]},
            fedsim_tf="0.1.0",
            tensorflow="2.15.1",
            terms="none",
        )
        weights = {network: {"0": np.zeros(1)} for network in NETWORKS}
        write_generator(root / name, card, shape_model=model, mean=np.zeros(3), root=np.eye(3), weights=weights)
    (root / "cut_generator" / "shape.npz").write_bytes(b"")
    record = SamplingRecord(generator="another", format="nifti", label_values="", plan={})
    write_record(root / "sampled" / "sampling.json", record)


def _take_up(file: pathlib.Path) -> None:
    """Make a run folder's configuration that of the wrong start, so that only its kind is wrong."""
    values = make_config(
        "demo",
        dataset="nifti",
        data={"root": "data", "labels": 2, "folds": 1},
        model={"shape_modes": 4, "shape_model": "shapes.npz", "precision": "float32"},
    ).to_dict()
    file.write_text(json.dumps(values))


class _NoTensorFlow:
    """Refuses to find TensorFlow and what imports it."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tensorflow_addons", "pyronn"):
            raise ImportError(f"{name} is out of reach")


def main(root: str) -> None:
    """Run every dry run that needs no TensorFlow in the folder, and print number, status and line of each as JSON."""
    import os

    sys.meta_path.insert(0, _NoTensorFlow())
    from tests.experiments.commands import run_command

    os.chdir(root)
    for number, start in enumerate(TABLE):
        if not start.needs_tensorflow:
            found = run_command(start.command, *start.flags, "--dry_run")
            print(json.dumps([number, found.status, found.stderr.strip().splitlines()[-1:]]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

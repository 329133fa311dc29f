"""A site's audit of what it has sent: the files that it reads, the table and pictures that it leaves."""

import numpy as np
import pytest

from fedsim_tf.baselines.direct_fl import DirectFederated, SharedUNet, initial_weights
from fedsim_tf.config import make_config
from fedsim_tf.errors import InputError
from fedsim_tf.federated.attack.gradient_inversion import InvertedVolume
from fedsim_tf.federated.kept_rounds import KeptRound, keep_round
from fedsim_tf.federated.privacy import privatize
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.tools.audit import run_audit
from fedsim_tf.tools.audit_start import open_audit
from fedsim_tf.tools.audit_table import summarize
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from tests.evaluation.pictures_for_tests import is_drawn
from tests.experiments.commands import run_command
from tests.federated.test_attack import answer
from tests.training.toy_site import small_vgg, toy_config, toy_learner, toy_shape_model, toy_site

ROUNDS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_gan):
    """The folder of a toy run whose site "ct20" has kept two rounds; the second one has noise."""
    root = tmp_path_factory.mktemp("audited")
    learner = toy_learner(toy_config(), name="ct20")
    site = RunFolder(root / "fold_0" / "sites" / "ct20", learner.config)
    stage = GeneratorPretraining(learner)
    for number in range(ROUNDS):
        weights, gradients, _ = answer(learner, stage, number)
        sent = privatize(gradients, bound=1.0 * number, multiplier=2.0)
        keep_round(site.path, KeptRound(stage.name, number, weights, sent, stage.list_batch(number)), most=ROUNDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedsim_tf.tools.audit.open_shape_model", lambda _: toy_shape_model())
        patch.setattr("fedsim_tf.tools.audit.open_fold", lambda *_, **__: learner.data)
        patch.setattr("fedsim_tf.tools.audit_start.open_cohort", lambda *_, **__: None)
        patch.setattr("fedsim_tf.tools.audit.open_vgg", lambda _: small_vgg())
        patch.setattr("fedsim_tf.federated.attack.ct_recovery.ITERATIONS", 5)
        yield root


def test_a_round_without_noise_is_found_and_one_with_noise_is_not(run, tmp_path):
    every = run_audit(open_audit(run, "ct20", cache_dir=tmp_path))
    found, pooled = ([one for one in every if one.is_pooled == many] for many in (False, True))
    exact = {number: [one for one in found if one.is_exact and one.last == number] for number in range(ROUNDS)}
    assert (len(exact[0]), len(exact[1])) == (2, 0)
    mean = np.mean([one.finding.correlation for one in found])
    words = summarize(every, n_sent=4)
    assert words.startswith("2 of 4 latents were recovered exactly; ")
    assert f"correlate with the patients' by {mean:.2f} on average" in words
    assert {(one.first, one.last) for one in pooled} == {(0, ROUNDS - 1)}
    mean = np.mean([one.finding.correlation for one in pooled])
    assert f"; those of 2 rounds together correlate with the patients' by {mean:.2f} on average" in words
    assert summarize([], n_sent=2) == "0 of 2 latents were recovered exactly"
    folder = run / "fold_0" / "sites" / "ct20" / "audit"
    assert all(is_drawn(folder / f"pretraining-00000{number}.png") for number in range(ROUNDS))
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in (folder / "audit.md").read_text().splitlines()[4:]
    ]
    assert is_drawn(folder / "pretraining-000000-to-000001.png")
    numbers = [str(one.last) for one in found] + ["0 to 1" for _ in pooled]
    assert [row[:2] for row in rows] == [["pretraining", number] for number in numbers]
    assert [row[2] for row in rows] == [str(one.finding.number) for one in every]
    assert [row[4] for row in rows[: len(found)]] == ["gradients" if one.last == 0 else "latent" for one in found]
    assert [float(row[5]) for row in rows] == pytest.approx([one.finding.correlation for one in every], abs=6e-4)


def test_the_command_says_what_it_found_and_a_dry_run_writes_nothing(run, tmp_path):
    before = sorted(run.rglob("*"))
    arguments = (f"--run_dir={run}", "--site=ct20", f"--cache_dir={tmp_path}")
    dry = run_command("federated_audit", *arguments, "--dry_run")
    assert (dry.status, sorted(run.rglob("*"))) == (0, before)
    assert "phantom cohort (ct20): 2 kept rounds in" in dry.stdout
    found = run_command("federated_audit", *arguments)
    assert found.status == 0
    assert "2 of 4 latents were recovered exactly" in found.stdout


def test_a_site_that_has_kept_nothing_has_nothing_to_audit(tmp_path):
    RunFolder(tmp_path / "fold_0" / "sites" / "ct20", make_config("demo"))
    with pytest.raises(InputError, match=r"found no kept rounds of ct20; .* federated.keep_sent above 0"):
        open_audit(tmp_path, "ct20", cache_dir=tmp_path)


@pytest.fixture
def direct(run, tmp_path, small_unet, monkeypatch):
    """The folder of a toy run of Direct-FL in which a site has kept two rounds, and the identities of their volumes."""
    config = toy_config(segmentation={"pretraining_steps": ROUNDS})
    data = toy_site("ct20")
    monkeypatch.setattr("fedsim_tf.tools.audit.open_fold", lambda *_, **__: data)
    monkeypatch.setattr("fedsim_tf.models.built.UNet3D", UNet3D)  # the tests of tools have a smaller one
    monkeypatch.setattr("fedsim_tf.federated.attack.gradient_inversion.GRADIENT_STEPS", 1)
    site, stage = RunFolder(tmp_path / "fold_0" / "sites" / "ct20", config), DirectFederated(SharedUNet(config, data))
    for number in range(ROUNDS):
        _, gradients = stage.shared_gradients(number, None)
        sent = {name: one.numpy() for name, one in zip(stage.learner.shared_names, gradients, strict=True)}
        kept = KeptRound(stage.name, number, initial_weights(config), sent, stage.list_batch(number))
        keep_round(site.path, kept, most=ROUNDS)
    return tmp_path, [stage.list_batch(number) for number in range(ROUNDS)]


def test_rounds_of_direct_fl_are_inverted_one_by_one(direct, tmp_path):
    """One step from noise finds nothing; the table and the pictures are of the right patients."""
    root, batches = direct
    found = run_audit(open_audit(root, "ct20", cache_dir=tmp_path))
    assert [(one.stage, one.last, one.is_of_unet, one.is_exact) for one in found] == [
        (DirectFederated.name, number, True, False) for number in range(ROUNDS)
    ]
    assert [(one.finding.identity,) for one in found] == batches
    assert all(abs(one.finding.correlation) < 0.5 and 0 <= one.residual <= 2 for one in found)
    mean = np.mean([one.finding.correlation for one in found])
    assert summarize(found, n_sent=0).startswith(
        f"CTs found in the gradients of the segmentation network correlate with the patients' by {mean:.2f} on average"
    )
    folder = root / "fold_0" / "sites" / "ct20" / "audit"
    assert all(is_drawn(folder / f"segmentation-direct_fl-pretrain-00000{number}.png") for number in range(ROUNDS))
    lines = (folder / "audit.md").read_text().splitlines()[4:]
    assert [line.split("|")[5].strip() for line in lines] == ["descent"] * ROUNDS


def test_a_volume_that_the_attack_finds_is_told_from_the_sites_others(direct, tmp_path, monkeypatch):
    """The attack is stood in for by the patient's own volume: the measures must say that nothing stays hidden."""
    root, batches = direct
    data, numbers = toy_site("ct20").labelled, iter(range(ROUNDS))

    def find(*_):
        place = data.identities.index(batches[next(numbers)][0])
        return InvertedVolume(data.images[place], data.labels[place], 0.0, True)

    monkeypatch.setattr("fedsim_tf.federated.attack.gradient_inversion.GradientInversion.invert", find)
    found = run_audit(open_audit(root, "ct20", stages=[DirectFederated.name], cache_dir=tmp_path))
    assert [(one.finding.rank, one.finding.dice) for one in found] == [(1, 100.0)] * ROUNDS
    np.testing.assert_allclose([one.finding.correlation for one in found], 1.0, atol=1e-6)
    lines = (root / "fold_0" / "sites" / "ct20" / "audit" / "audit.md").read_text().splitlines()[4:]
    assert [line.split("|")[5].strip() for line in lines] == ["maps"] * ROUNDS
    with pytest.raises(InputError, match="found no kept rounds of ct20 in pretraining"):
        open_audit(root, "ct20", stages=["pretraining"], cache_dir=tmp_path)

import numpy as np

from fedsim_tf.metrics import dice
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import mean_dice, segmenter, train_segmenter
from tests.training.toy_site import toy_config, toy_site


def test_learns_an_easy_heart_and_keeps_the_best_weights(tmp_path):
    site = toy_site()
    config = toy_config(
        model={"unet_width": 4},
        segmentation={"pretraining_steps": 60, "finetuning_steps": 20, "validation_every": 10, "rate": 3e-3},
    )
    run = RunFolder(tmp_path / "run", config)
    segment = train_segmenter(run, "arm", pretrain=site.labelled, finetune=site.labelled, validation=site.validation)
    score = mean_dice(segment, site.test)
    assert score > 85
    assert score == np.mean([dice(segment(i), j) for i, j in zip(site.test.images, site.test.labels, strict=True)])
    again = train_segmenter(run, "arm", pretrain=site.labelled, finetune=site.labelled, validation=site.validation)
    np.testing.assert_array_equal(again(site.test.images[0]), segment(site.test.images[0]))


def test_segmenter_thresholds_logits_at_zero():
    segment = segmenter(lambda image, training: image)
    image = np.array([[[-1.0, 0.5], [0.0, 2.0]]], np.float32)
    np.testing.assert_array_equal(segment(image), [[[0, 1], [0, 1]]])

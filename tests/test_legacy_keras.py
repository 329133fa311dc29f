"""Which Keras `tf.keras` is, for TensorFlows before and after Keras 2 left it."""

import importlib.metadata
import os
import sys
import types

import pytest
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.legacy_keras import VARIABLE, choose_keras_2, is_separate


@pytest.fixture
def installed(monkeypatch):
    """Return a function that pretends that a package has a version, and that nothing has been imported or set yet."""

    def pretend(version, package="tensorflow"):
        def find(name):
            if name != package:
                raise importlib.metadata.PackageNotFoundError
            return version

        monkeypatch.setattr(importlib.metadata, "version", find)
        monkeypatch.setitem(sys.modules, "tensorflow", None)

    monkeypatch.setenv(VARIABLE, "")  # so that it is put back
    monkeypatch.delenv(VARIABLE)
    return pretend


def environment():
    return os.environ.get(VARIABLE)


def test_the_tensorflow_that_is_installed_has_keras_2():
    package = tf.keras.Model.__module__.partition(".")[0]
    assert package == ("tf_keras" if is_separate() else "keras")
    assert sys.modules[package].__version__.split(".")[:2] == tf.__version__.split(".")[:2]


@pytest.mark.parametrize("version", ["2.9.3", "2.15.1"])
def test_nothing_is_set_where_keras_2_is_within_tensorflow(installed, version):
    installed(version)
    choose_keras_2()
    assert environment() is None


@pytest.mark.parametrize("version", ["2.16.0rc1", "2.21.0", "3.0.0"])
@pytest.mark.parametrize("package", ["tensorflow", "tensorflow-cpu"])
def test_keras_2_is_asked_for_where_it_is_a_package_of_its_own(installed, version, package):
    installed(version, package)
    choose_keras_2()
    assert environment() == "1"


def test_a_user_who_has_asked_for_it_is_left_alone(installed, monkeypatch):
    installed("2.21.0")
    monkeypatch.setenv(VARIABLE, "true")
    choose_keras_2()
    assert environment() == "true"


def test_a_user_who_wants_keras_3_is_told(installed, monkeypatch):
    installed("2.21.0")
    monkeypatch.setenv(VARIABLE, "0")
    with pytest.raises(InputError, match=r"^TF_USE_LEGACY_KERAS is '0'; it must be 1 or unset: "):
        choose_keras_2()


def test_a_process_that_has_used_keras_3_is_told(installed, monkeypatch):
    installed("2.21.0")
    used = types.SimpleNamespace(keras=types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tensorflow", used)
    choose_keras_2()
    used.keras.__version__ = "3.15.1"
    with pytest.raises(InputError, match=r"^tf\.keras: found Keras 3; expected that fedsim_tf is imported before"):
        choose_keras_2()

import errno
import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.files import (
    append_rows,
    digest_file,
    digest_files,
    hold,
    hold_during,
    lock_file,
    make_folder,
    read_json,
    read_npz,
    read_rows,
    write_atomically,
    write_json,
    write_npz,
)


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"kept": 1})
    with pytest.raises(RuntimeError), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert read_json(path) == {"kept": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_written_whole_and_without_pickle(tmp_path, compressed):
    values = {"a": np.arange(6.0).reshape(2, 3), "word": "heart", "number": 3}
    write_npz(tmp_path / "deep" / "a.npz", values, compressed=compressed)
    with np.load(tmp_path / "deep" / "a.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["a"], values["a"])
        assert (str(found["word"]), int(found["number"])) == ("heart", 3)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.npz"]


NPY = b"\x93NUMPY\x01\x00\x36\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}\n" + bytes(
    8
)  # one array alone


@pytest.fixture
def disk(monkeypatch):
    """Notes in their order what is forced to the disk, by path, and what is renamed, as "from -> to"."""
    calls, fsync, replace = [], os.fsync, os.replace

    def note_fsync(handle):
        calls.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def note_replace(source, target):
        calls.append("renamed")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    return calls


def test_a_file_that_is_renamed_is_on_the_disk_before_and_its_folder_after(tmp_path, disk):
    write_json(tmp_path / "a.json", {})
    contents, renamed, folder = disk
    assert contents.startswith(f"{tmp_path}/.partial-")
    assert (renamed, folder) == ("renamed", str(tmp_path))


def test_a_file_system_that_cannot_force_folders_is_written_to_all_the_same(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_json(tmp_path / "a.json", {"kept": 1})
    assert read_json(tmp_path / "a.json") == {"kept": 1}


def test_new_folders_are_names_in_their_own_folders_on_the_disk(tmp_path, disk):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert disk == [str(tmp_path), str(tmp_path / "a")]
    write_json(tmp_path / "a" / "c" / "d.json", {})
    assert disk[2] == disk[-1].removesuffix("/c") == str(tmp_path / "a")


def test_rows_that_have_to_survive_are_on_the_disk_with_the_name_of_their_table(tmp_path, disk):
    append_rows(tmp_path / "lost.csv", ("a",), [(1,)])
    assert disk == []
    table = tmp_path / "kept.csv"
    append_rows(table, ("a",), [(1,)], survives=True)
    assert disk == [str(table), str(tmp_path)]
    append_rows(table, ("a",), [(2,)], survives=True)
    assert disk == [str(table), str(tmp_path), str(table)]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda file: file.unlink(), "found no such file"),
        (lambda file: file.write_bytes(file.read_bytes()[:200]), "found a damaged file"),
        (lambda file: file.write_bytes(b""), "found a damaged file"),
        (lambda file: file.write_bytes(NPY), "found a damaged file"),
        (lambda file: write_npz(file, {"b": 1}), r"found arrays \['b'\]; expected also \['a'\]"),
        (lambda file: write_npz(file, {"a": "one"}), "found a of <U3; expected numbers"),
    ],
)
def test_arrays_that_are_missing_damaged_or_others_are_named(tmp_path, harm, message):
    file = tmp_path / "model.npz"
    write_npz(file, {"a": np.arange(100)})
    np.testing.assert_array_equal(read_npz(file, required=("a",))["a"], np.arange(100))
    harm(file)
    with pytest.raises(InputError, match=rf"model\.npz: {message}"):
        read_npz(file, required=("a",))


def test_a_full_disk_is_said_with_the_file_that_it_kept_from_being_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")  # as write() has it, without a name

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.npz'"):
        write_npz(tmp_path / "a.npz", {"a": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []


def test_rows_are_added_after_one_that_a_full_disk_cut_short(tmp_path):
    table = tmp_path / "table.csv"
    append_rows(table, ("a", "b"), [(1, 2)])
    with open(table, "a") as file:
        file.write("3")
    append_rows(table, ("a", "b"), [(5, 6)])
    assert read_rows(table) == [["1", "2"], ["3"], ["5", "6"]]
    table.write_text("")
    append_rows(table, ("a", "b"), [(7, 8)])
    assert read_rows(table) == [["7", "8"]]


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    file = tmp_path / "data"
    file.write_bytes(bytes(range(256)) * 20_000)  # more than is read at a time
    assert digest_file(file) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("contents", [b"", b"{'a': 1}", b"\xff\xfe", b'{"a": 1'])
def test_damaged_json_is_named(tmp_path, contents):
    (tmp_path / "config.json").write_bytes(contents)
    with pytest.raises(InputError, match=r"config.json: found no JSON \(.*\); expected the file as it was written"):
        read_json(tmp_path / "config.json")


def test_a_folder_is_one_process_at_a_time(tmp_path):
    code = f"import pathlib, sys; from fedsim_tf.files import hold; hold(pathlib.Path({str(tmp_path)!r}), seconds=1)"
    keep = "; print('held', flush=True); sys.stdin.read()"
    first = subprocess.Popen([sys.executable, "-c", code + keep], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(RunStopped, match="another process works in it"):
            hold(tmp_path, seconds=0)
    finally:
        first.communicate(b"")
    hold(tmp_path, seconds=0)
    hold(tmp_path, seconds=0)  # it is this process's already
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another process works in it" in other.stderr


def test_a_folder_is_let_go_at_the_end_of_the_outermost_context(tmp_path):
    with hold_during(tmp_path):
        with hold_during(tmp_path):
            assert lock_file(tmp_path / ".lock") is None
        assert lock_file(tmp_path / ".lock") is None
    with lock_file(tmp_path / ".lock") as free:
        assert free is not None


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with lock_file(tmp_path / "lock") as free:
        assert free is not None
    assert "has no locks" in caplog.text


def test_arrays_that_were_written_are_read(tmp_path):
    write_npz(tmp_path / "a.npz", {"x": np.arange(3), "name": "CT"})
    found = read_npz(tmp_path / "a.npz", required=("x",), texts=("name",))
    np.testing.assert_array_equal(found["x"], np.arange(3))
    assert str(found["name"]) == "CT"
    with pytest.raises(InputError, match=r"a\.npz: found arrays \['name', 'x'\]; expected also \['y'\]"):
        read_npz(tmp_path / "a.npz", required=("y",))
    with pytest.raises(InputError, match=r"a\.npz: found name of <U2; expected numbers"):
        read_npz(tmp_path / "a.npz", required=("name",))
    with pytest.raises(InputError, match=r"b\.npz: found no such file"):
        read_npz(tmp_path / "b.npz")


@pytest.mark.parametrize("kept", [0, 1, 30, 0.5, 0.98])
@pytest.mark.parametrize("compressed", [True, False])
def test_archives_that_are_cut_off_are_said_to_be_damaged(tmp_path, kept, compressed):
    write_npz(tmp_path / "a.npz", {"x": np.random.default_rng(0).random(500)}, compressed=compressed)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=r"a\.npz: found a damaged file"):
        read_npz(tmp_path / "a.npz")


def test_archives_with_other_bytes_and_foreign_files_are_said_to_be_damaged(tmp_path):
    path = tmp_path / "a.npz"
    for compressed in (True, False):
        write_npz(path, {"x": np.arange(500.0)}, compressed=compressed)
        data = bytearray(path.read_bytes())
        data[200:240] = bytes(range(40))
        path.write_bytes(bytes(data))
        with pytest.raises(InputError, match="damaged"):
            read_npz(path)
    path.write_text("not an archive")
    with pytest.raises(InputError, match="damaged"):
        read_npz(path)
    np.savez(path, x=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        read_npz(path)


def test_several_files_have_one_digest_whatever_their_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    assert digest_files([a]) == digest_file(a) == hashlib.sha256(b"one").hexdigest()
    parts = sorted(hashlib.sha256(data).hexdigest() for data in (b"one", b"two"))
    assert digest_files([a, b]) == digest_files([b, a]) == hashlib.sha256("".join(parts).encode()).hexdigest()

import pytest

from fedsim_tf.data.division import parse_division, read_division
from tests.data.files_for_tests import refused


def test_the_shipped_division_has_two_halves_of_34():
    division = read_division()
    assert division.key == "position"
    assert sorted(division.sites) == list(range(1, 69))
    assert sorted(division.sites.values()) == ["ct34lc"] * 34 + ["ct34mc"] * 34


def test_comments_spaces_and_windows_files_are_read(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbf# ours\r\n\r\nid , site\r\n 1001, ct34lc\r\n# later\r\n1002,ct34mc\r\n")
    division = read_division(path)
    assert division.sites == {1001: "ct34lc", 1002: "ct34mc"}
    assert division.select_members([1002, 1001, 7], "ct34mc") == [1002]


@pytest.mark.parametrize(
    ("row", "fragments"),
    [
        ("1001", ["'1001'", "id,site"]),
        ("1001,ct34lc,x", ["'1001,ct34lc,x'"]),
        ("ct_1001,ct34lc", ["'ct_1001,ct34lc'", "whole number"]),
        ("1003,lc", ["site 'lc'", "ct34lc, ct34mc"]),
        ("1000,ct34mc", ["id 1000 a second time"]),
    ],
)
def test_bad_rows_are_named_by_their_line(row, fragments):
    text = f"# comment\nid,site\n\n1000,ct34lc\n{row}\n"
    refused(lambda: parse_division(text, "mine.csv"), "mine.csv, line 5", *fragments)


@pytest.mark.parametrize("text", ["", "# nothing\n", "1001,ct34lc\n", "patient,site\n"])
def test_bad_headers_are_refused(text):
    refused(lambda: parse_division(text, "mine.csv"), "mine.csv", "id,site or position,site")


def test_positions_without_gaps_and_files_that_are_there(tmp_path):
    refused(lambda: parse_division("position,site\n1,ct34lc\n3,ct34mc\n", "mine.csv"), "gaps", "1 to 2")
    refused(lambda: read_division(tmp_path / "none.csv"), tmp_path / "none.csv", "CSV")
    division = parse_division("id,site\n1001,ct34lc\n1005,ct34lc\n", "mine.csv")
    refused(lambda: division.select_members([1001], "ct34lc"), "no files for 1005", "every patient of ct34lc")

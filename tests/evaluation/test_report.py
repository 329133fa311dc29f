import html.parser

import pytest

from fedsim_tf.arms import ARMS
from fedsim_tf.evaluation.report import number, print_table, write_report

SUMMARY = {
    "ct20": {
        "lower_bound": {"folds": 5, "dice": 71.234, "dice_std": 2.346, "iou": 60.5, "iou_std": 1.0},
        "ours_sim_fl": {"folds": 5, "dice": 88.777, "dice_std": 0.119, "iou": 77.125, "iou_std": 3.0},
    },
    "ct34lc": {"upper_bound": {"folds": 1, "dice": 91.0, "iou": 83.5}},
}
STAGES = {
    "fold_0/pretraining": {
        "steps": 4321,
        "seconds": 12.5,
        "losses": {
            "iou": {"first": 0.98765, "last": 0.1234, "down": True},
            "mse": {"first": 0.5, "last": 0.625, "down": False},
        },
    },
    "fold_0/gan": {"steps": 8, "seconds": 1.0},
}
PICTURES = [("pictures/samples.png", "Samples of <b>ours</b>")]


class Page(html.parser.HTMLParser):
    """Tables as rows of texts, sources of pictures, headings, and the names of all tags."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.sources, self.headings, self.tags, self._cell = [], [], [], set(), None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "h1", "title"):
            self._cell = ""
        if tag == "img":
            self.sources.append(dict(attrs)["src"])

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1].append(self._cell)
        if tag in ("h1", "title"):
            self.headings.append(self._cell)
        if tag in ("td", "th", "h1", "title"):
            self._cell = None


def page(tmp_path, **changes):
    contents = {
        "title": "Single site: phantom cohort (ct20)",
        "facts": {"data": "phantom cohort (ct20)", "seed": 7},
        "summary": SUMMARY,
        "stages": STAGES,
        "pictures": PICTURES,
    }
    write_report(tmp_path / "report.html", **{**contents, **changes})
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_report_shows_every_score_of_every_site_and_arm(tmp_path):
    rows = page(tmp_path).rows
    assert ["ct20", "Lower bound (real labels only)", "71.23 ± 2.35", "60.50 ± 1.00", "5"] in rows
    assert ["ct20", "Ours-Sim-FL", "88.78 ± 0.12", "77.12 ± 3.00", "5"] in rows
    assert ["ct34lc", "Upper bound (all labels)", "91.00", "83.50", "1"] in rows


def test_report_shows_facts_and_stages(tmp_path):
    rows = page(tmp_path).rows
    assert ["data", "phantom cohort (ct20)"] in rows
    assert ["seed", "7"] in rows
    assert ["fold_0/pretraining", "4321", "12.5", "iou", "0.9877", "0.1234", "down"] in rows
    assert ["", "", "", "mse", "0.5", "0.625", "up"] in rows


def test_report_says_phantom_in_its_titles(tmp_path):
    assert page(tmp_path).headings == ["Single site: phantom cohort (ct20)"] * 2


def test_report_shows_the_pictures_it_is_given_in_order(tmp_path):
    pictures = [("fold_0/pictures/b.png", "B"), ("fold_0/pictures/a.png", "A")]
    assert page(tmp_path, pictures=pictures).sources == ["fold_0/pictures/b.png", "fold_0/pictures/a.png"]


def test_report_escapes_what_looks_like_html(tmp_path):
    """A folder, a site or a loss may be called anything; the parser gives back the very text and sees no new tag."""
    bad = "<script>alert('a & b')</script>"
    found = page(
        tmp_path,
        title=bad,
        facts={bad: bad},
        summary={bad: SUMMARY["ct34lc"]},
        stages={bad: {"steps": 1, "seconds": 1, "losses": {bad: {"first": 1.0, "last": 1.0, "down": False}}}},
        pictures=[('a"><script>.png', bad)],
    )
    assert "script" not in found.tags
    assert found.headings == [bad, bad]
    assert [bad, bad] in found.rows
    assert [row[0] for row in found.rows].count(bad) == 3
    assert found.sources == ['a"><script>.png']


def test_report_without_pictures_or_stages_is_still_a_page(tmp_path):
    found = page(tmp_path, pictures=[], stages={})
    assert found.sources == []
    assert {"html", "body", "table"} <= found.tags


def test_every_arm_has_a_name_of_its_own():
    assert len({arm.title for arm in ARMS.values()}) == len(ARMS)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"dice": 87.654, "dice_std": 2.2}, "87.65 ± 2.20"),
        ({"dice": 87.654}, "87.65"),
        ({"dice": 50.0, "dice_std": 0.0}, "50.00 ± 0.00"),
    ],
)
def test_numbers_have_two_digits_and_their_spread_where_there_is_one(row, expected):
    assert number(row, "dice") == expected


def test_table_on_the_terminal_has_title_sites_arms_and_numbers(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    print_table("Single site: phantom cohort (ct20)", SUMMARY)
    lines = capsys.readouterr().out.splitlines()
    assert any("Single site: phantom cohort (ct20)" in line for line in lines)
    (ours,) = [line for line in lines if "Ours-Sim-FL" in line]
    for text in ("ct20", "88.78 ± 0.12", "77.12 ± 3.00", "5"):
        assert text in ours
    (upper,) = [line for line in lines if "Upper bound (all labels)" in line]
    assert "ct34lc" in upper
    assert "91.00" in upper
    assert "±" not in upper

"""A page's parts as a browser would see them, and what every page has to keep to."""

import base64
import html.parser
import io
import pathlib
import re

from PIL import Image


class ParsedPage(html.parser.HTMLParser):
    """Tables as rows of texts, sources of pictures, links, headings, ids, and all text and tags.

    Attributes:
      sheets: for each slider, its count of slices and the data URIs of the layers that it moves.
    """

    def __init__(self, text):
        super().__init__()
        self.rows, self.sources, self.links, self.headings, self.ids, self.texts = [], [], [], [], [], []
        self.tags, self.sheets, self._cell, self._layers = set(), [], None, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "h1", "title"):
            self._cell = ""
        if tag == "img":
            self.sources.append(values["src"])
        if tag == "a":
            self.links.append(values["href"])
        if values.get("class") == "layer":
            self._layers.append(re.search(r"url\(([^)]*)\)", values["style"]).group(1))
        if values.get("type") == "range":
            self.sheets.append((int(values["max"]) + 1, self._layers))
            assert 0 <= int(values["value"]) <= int(values["max"])
            self._layers = []

    def handle_data(self, data):
        self.texts.append(data)
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1].append(self._cell.strip())
        if tag in ("h1", "title"):
            self.headings.append(self._cell)
        if tag in ("td", "th", "h1", "title"):
            self._cell = None


def decode(uri):
    """The picture in a data URI."""
    head, _, data = uri.partition(",")
    assert re.fullmatch(r"data:image/(png|jpeg);base64", head), head
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def check_page(path: pathlib.Path) -> ParsedPage:
    """Parse a page and fail if an id comes twice, a link or picture leads nowhere, or anything is on a network."""
    text = path.read_text(encoding="utf-8")
    page = ParsedPage(text)
    assert len(page.ids) == len(set(page.ids))
    assert "://" not in re.sub(r"base64,[^\"')]*", "", text)
    assert "{'" not in text  # no dictionary of Python's
    for link in page.links:
        file, _, place = link.partition("#")
        target = path.parent / file if file else path
        assert target.is_file(), link
        assert not pathlib.PurePosixPath(file).is_absolute()
        if place:
            assert f'id="{place}"' in target.read_text(encoding="utf-8"), link
    for source in page.sources:
        if source.startswith("data:"):
            decode(source).verify()
        else:
            assert (path.parent / source).is_file(), source
    for count, layers in page.sheets:
        assert layers
        for uri in layers:
            assert decode(uri).height % count == 0
    return page

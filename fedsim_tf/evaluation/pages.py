"""HTML pages made from the templates of this package."""

from __future__ import annotations

import importlib.resources
import pathlib

import jinja2

from fedsim_tf.files import write_text


def render_page(path: pathlib.Path, template: str, **values: object) -> None:
    """Write a page; texts among the values are escaped, and a value that the template lacks is an error.

    Args:
      path: the HTML file.
      template: a file's name in `templates`.
      values: what the template shows, by name.
    """
    source = importlib.resources.files("fedsim_tf.evaluation") / "templates" / template
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(path, environment.from_string(source.read_text(encoding="utf-8")).render(values))

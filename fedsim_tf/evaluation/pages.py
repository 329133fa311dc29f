"""HTML pages made from the templates of this package."""

from __future__ import annotations

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
    loader = jinja2.PackageLoader("fedsim_tf.evaluation", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(path, environment.get_template(template).render(values))

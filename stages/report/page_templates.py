"""The templates of all pages: everything that they are filled with is escaped, and what they lack is an error."""

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def page_template(package: str, name: str, **filters: Callable[..., str]) -> Template:
    """A template from the folder `page` of a package, with the filters that it uses."""
    environment = Environment(
        loader=PackageLoader(package, "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)

"""A report's page: one HTML file that asks for nothing outside itself.

Jinja2 fills in the template, for it escapes every text unless told otherwise: no class name, path
or caption can become markup. It is among torch's own requirements, so it is there already.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common.files import read_text, read_whole

_HERE = Path(__file__).resolve().parent
_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


class Figure(NamedTuple):
    """A figure as the page holds it.

    Attributes:
        uri: the whole picture, as a data URI.
        alt: what it shows, for those who do not see it.
        caption: what stands below it.
    """

    uri: str
    alt: str
    caption: str


def figure_of(path: Path, alt: str, caption: str = "") -> Figure:
    """A figure from its file, an SVG or a PNG."""
    return Figure(data_uri(read_whole(path), _TYPES[path.suffix]), alt, caption)


def data_uri(content: bytes, kind: str) -> str:
    """A file's content as an address that holds it.

    Args:
        content: of the file.
        kind: its media type, such as "image/jpeg".
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def render_page(parts: Mapping[str, Any]) -> str:
    """The page's HTML.

    Its content security policy names the digests of its own style and script: a browser loads
    nothing else and runs nothing else, whatever else the page were to hold.

    Args:
        parts: what page.html asks for.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    style, script = (read_text(_HERE / name) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        parts,
        style=Markup(style),
        script=Markup(script),
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

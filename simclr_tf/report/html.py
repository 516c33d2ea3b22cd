"""One self-contained HTML page: escaped text, tables, thumbnails in one sheet, charts as data."""

import base64
import html
import importlib.resources
import io
import json
import math

import numpy as np
from PIL import Image

from simclr_tf import names
from simclr_tf.data import listing
from simclr_tf.report.files import write_file
from simclr_tf.version import __version__

SIDE = 64  # largest side of a thumbnail, pixels
_CSP = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def text(value):
    """Any value as text of a page: names of files and classes cannot become markup."""
    return html.escape(names.shown(str(value)), quote=True)


def table(header, rows, caption="", kind=""):
    """A table; cells are text unless they are Markup."""
    head = "".join(f'<th scope="col">{_cell(cell)}</th>' for cell in header)
    lines = []
    for row in rows:
        first = f'<th scope="row">{_cell(row[0])}</th>'
        lines.append(f"<tr>{first}{''.join(f'<td>{_cell(cell)}</td>' for cell in row[1:])}</tr>")
    words = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}">{words}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


class Markup(str):
    """Text that is HTML already."""


def _cell(value):
    return value if isinstance(value, Markup) else text(value)


def as_json(content):
    """JSON that may stand in a script element, whatever names it holds."""
    written = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class Pictures:
    """Thumbnails of a page, in one picture; the same thumbnail is kept once.

    Args:
        side: pixels of a thumbnail.
    """

    def __init__(self, side):
        self.side = side
        self._thumbnails = []
        self._places = {}

    def place(self, key, thumbnail):
        """The number of a thumbnail, uint8 [side, side, 3]; the same key has one number."""
        if key not in self._places:
            self._places[key] = len(self._thumbnails)
            self._thumbnails.append(thumbnail)
        return self._places[key]

    @property
    def columns(self):
        """Thumbnails side by side in the sheet."""
        return max(1, math.ceil(math.sqrt(len(self._thumbnails))))

    @property
    def rows(self):
        """Thumbnails one above the other."""
        return max(1, -(-len(self._thumbnails) // self.columns))

    def sheet(self):
        """The address of the sheet, as data; "" without thumbnails."""
        if not self._thumbnails:
            return ""
        across = self.columns
        down = self.rows
        cells = np.zeros([down * across, self.side, self.side, 3], np.uint8)
        cells[: len(self._thumbnails)] = self._thumbnails
        cells = cells.reshape(down, across, self.side, self.side, 3).transpose(0, 2, 1, 3, 4)
        return data_address(cells.reshape(down * self.side, across * self.side, 3), "webp")


def data_address(image, kind="png"):
    """uint8 [h, w, 3] -> a data: address of the picture, "png" or "webp"."""
    content = io.BytesIO()
    picture = Image.fromarray(image)
    if kind == "webp":
        picture.save(content, "WEBP", quality=82, method=4)
    else:
        picture.save(content, "PNG", optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def thumbnail(number, words):
    """The place of a thumbnail; the page's script moves the sheet behind it."""
    return Markup(f'<span class="pic" data-n="{int(number)}" role="img" aria-label="{text(words)}" title="{text(words)}"></span>')  # fmt: skip


def figure(picture, *captions, kind=""):
    """A thumbnail with lines below; captions are text, or Markup."""
    lines = "".join(f"<span>{_cell(caption)}</span>" for caption in captions)
    return Markup(f'<figure class="{kind}">{picture}<figcaption>{lines}</figcaption></figure>')


def gallery(figures):
    """Figures in rows that wrap."""
    return Markup(f'<div class="gallery">{"".join(figures)}</div>')


def chart(name, words, height=260):
    """The place of a chart; words: what it shows, for those who do not see it."""
    return Markup(
        f'<div class="chart" id="chart-{text(name)}" role="img" aria-label="{text(words)}" '
        f'style="height:{int(height)}px"></div>'
    )


class Page:
    """Sections and the data of their charts.

    Attributes:
        data: {name: what the script of the page draws}.
        pictures: Pictures.
    """

    def __init__(self, title, lead, side=SIDE):
        self.title = title
        self.lead = lead
        self.pictures = Pictures(side)
        self.data = {"charts": {}}
        self._sections = []

    def add(self, name, title, *parts):
        """Adds a section; parts: Markup, or text that becomes a paragraph. Without parts: none."""
        parts = [part for part in parts if part]
        if parts:
            body = "".join(p if isinstance(p, Markup) else f"<p>{text(p)}</p>" for p in parts)
            self._sections.append((name, title, body))

    def content(self):
        """The page, str."""
        pictures = self.pictures
        self.data["sheet"] = {"columns": pictures.columns, "rows": pictures.rows, "side": pictures.side}  # fmt: skip
        sheet = self.pictures.sheet()
        links = "".join(f'<a href="#{name}">{text(title)}</a>' for name, title, _ in self._sections)
        body = "".join(
            f'<section id="{name}"><h2>{text(title)}</h2>{part}</section>'
            for name, title, part in self._sections
        )
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
            f'<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<meta name="generator" content="{listing.MARK} {__version__}">'
            f'<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
            f"<title>{text(self.title)}</title><style>{asset('page.css')}</style></head>\n<body>"
            f'<a class="skip" href="#main">to the content</a>'
            f'<header><h1>{text(self.title)}</h1>{self.lead}<nav aria-label="sections">{links}</nav></header>'
            f'<main id="main">{body}</main><footer>{_licences()}</footer>'
            f'<img id="sheet" alt="" hidden src="{sheet or "data:,"}">'
            f'<script type="application/json" id="data">{as_json(self.data)}</script>\n'
            f"<script>{_script('echarts.common.min.js')}</script>\n"
            f"<script>{_script('page.js')}</script>\n</body></html>\n"
        )

    def write(self, path):
        """Writes the page; see `files.write_file`."""
        write_file(self.content().encode("utf-8"), path)


def asset(name):
    """The text of a file of this package's folder of assets."""
    place = importlib.resources.files("simclr_tf.report") / "assets" / name
    return place.read_text(encoding="utf-8")


def _script(name):
    content = asset(name)
    if "</script" in content.lower():  # it would end the element
        raise ValueError(f"{name} holds </script")
    return content


def _licences():
    parts = ("NOTICE", "LICENSE", "LICENSE-d3")
    words = "\n\n".join(asset(name) for name in parts)
    return (
        f"<p>Written by simclr_tf {text(__version__)}. Charts: Apache ECharts, Apache-2.0.</p>"
        f"<details><summary>Licences of the charts</summary><pre>{html.escape(words)}</pre></details>"
    )

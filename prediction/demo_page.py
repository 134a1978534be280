"""The demo as a web page of gradio's; what it shows is computed in `prediction.demo`."""

from __future__ import annotations

import os
from html import escape
from types import ModuleType
from typing import Any

from common.user_errors import MISTAKES, is_mistake, message_of
from prediction.comparison import column_of
from prediction.demo import Demo, SeenPicture
from prediction.other_classes import parse_classnames
from prediction.region_maps import RAMP
from prediction.score_bars import CSS, table_html

MAX_UPLOAD = "100mb"
_OLD = 3600  # seconds after which an uploaded file is deleted
_LAYOUT = """
#message [role="alert"] { position: fixed; left: 16px; top: 16px; z-index: 1000;
  max-width: calc(100% - 32px); margin: 0; padding: 12px; border: 2px solid currentColor;
  background: var(--background-fill-primary); }
@media (max-width: 640px) {
  #shown img, #region-map img { max-height: 220px; object-fit: contain; }
}
"""
_EMPTY = "<p>Drop a picture to see its scores.</p>"


class DemoPage:
    """Gradio's components, and what happens when one of them changes.

    Args:
        demo: the models.

    Attributes:
        blocks: the page, to be launched.

    Raises:
        ImportError: gradio is not installed.
    """

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self._gradio = gr = import_gradio()
        title = "Scores of a picture"
        with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(_OLD, _OLD)) as blocks:
            gr.Markdown(f"# {title}")
            self.picture, self.names = gr.State(None), gr.State(None)
            self.message = gr.HTML(elem_id="message")
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    self.drop = gr.File(label="Picture", elem_id="drop", height=120)
                    self.shown = gr.Image(
                        label="Picture",
                        interactive=False,
                        buttons=[],
                        visible=False,
                        elem_id="shown",
                    )
                    self._add_map()
                with gr.Column(scale=2, min_width=300):
                    self.table = gr.HTML(_EMPTY, elem_id="scores")
                    self._add_names()
            self._connect()
        self.blocks = blocks

    def launch(self, **options: Any) -> Any:  # noqa: ANN401 - gradio's own
        """Serve the page; options as of gradio's `Blocks.launch`."""
        return self.blocks.launch(
            css=CSS + _LAYOUT, footer_links=[], max_file_size=MAX_UPLOAD, ssr_mode=False, **options
        )

    def _add_names(self) -> None:
        gr, demo = self._gradio, self.demo
        editable = not all(demo.why_fixed)
        with gr.Accordion("Class names", open=False, elem_id="names"):
            for reason in filter(None, demo.why_fixed):
                gr.Markdown(reason)
            self.box = gr.Textbox(
                "\n".join(demo.models[0].classnames),
                label="Class names, one a line",
                lines=6,
                max_lines=12,
                visible=editable,
                elem_id="names-box",
            )
            with gr.Row(visible=editable):
                self.apply = gr.Button("Use these names", variant="primary", size="sm")
                self.reset = gr.Button("Back to the first names", size="sm")

    def _add_map(self) -> None:
        gr, demo = self._gradio, self.demo
        places = demo.with_regions
        if not places:
            gr.Markdown("These models score the picture as a whole: there is no region map.")
        with gr.Column(visible=bool(places)):
            choices = [(demo.models[i].name, i) for i in places]
            with gr.Row():
                self.class_of_map = gr.Dropdown(
                    [], label="Region map of the class", elem_id="class-of-map"
                )
                self.model_of_map = gr.Dropdown(
                    choices,
                    value=places[0] if places else None,
                    label="by",
                    visible=len(places) > 1,
                )
            self.map = gr.Image(
                label="Region map", interactive=False, buttons=[], elem_id="region-map"
            )
            self.map_key = gr.HTML(elem_id="map-key")

    def _connect(self) -> None:
        scores = [self.message, self.table]
        of_map = [self.class_of_map, self.map, self.map_key]
        which = [self.class_of_map, self.model_of_map]
        self.drop.upload(
            self.on_picture,
            [self.drop, self.names, *which],
            [self.drop, self.picture, self.shown, *scores, *of_map],
        )
        self.apply.click(
            self.on_names,
            [self.box, self.picture, *which],
            [self.names, *scores, *of_map],
        )
        self.reset.click(
            self.on_reset, [self.picture, *which], [self.box, self.names, *scores, *of_map]
        )
        for component in (self.class_of_map, self.model_of_map):
            component.input(
                self.on_map, [self.picture, self.names, *which], [self.message, *of_map]
            )

    # What is returned fits the outputs above; `skip` leaves one as it is.

    def on_picture(
        self, path: str | None, names: list[str] | None, classname: str | None, place: int | None
    ) -> tuple:
        """A file was dropped; its best class is mapped."""
        skip = self._gradio.skip()
        try:
            picture = self.demo.look_at(path)
            results = self._results(picture, names, None, place)
        except MISTAKES as error:
            return (None, skip, skip, self._error(error), *[skip] * 4)
        shown = self._gradio.Image(value=picture.shown, visible=True, label=picture.name)
        return (None, picture, shown, *results)

    def on_names(
        self, text: str, picture: SeenPicture | None, classname: str | None, place: int | None
    ) -> tuple:
        """Other class names are to be used."""
        try:
            names = parse_classnames(text)
            self.demo.models_for(names)
            return (names, *self._results(picture, names, classname, place))
        except MISTAKES as error:
            skip = self._gradio.skip()
            return (skip, self._error(error), *[skip] * 4)

    def on_reset(
        self, picture: SeenPicture | None, classname: str | None, place: int | None
    ) -> tuple:
        """The names that the models came with are to be used again."""
        results = self._results(picture, None, classname, place)
        return ("\n".join(self.demo.models[0].classnames), None, *results)

    def on_map(
        self,
        picture: SeenPicture | None,
        names: list[str] | None,
        classname: str | None,
        place: int | None,
    ) -> tuple:
        """Another class, or another model, is to be mapped."""
        return ("", *self._map(picture, names, classname, place))

    def _results(
        self,
        picture: SeenPicture | None,
        names: list[str] | None,
        classname: str | None,
        place: int | None,
    ) -> tuple:
        """No message, the table, and the region map."""
        if picture is None:
            return ("", _EMPTY, *[self._gradio.skip()] * 3)
        columns = [column_of(model) for model in self.demo.models_for(names)]
        table = table_html(columns, self.demo.rows(picture, names))
        return ("", table, *self._map(picture, names, classname, place))

    def _map(
        self,
        picture: SeenPicture | None,
        names: list[str] | None,
        classname: str | None,
        place: int | None,
    ) -> tuple:
        """The classes to choose from, the region map, and the meaning of its colours.

        Args:
            picture: what is looked at.
            names: class names in use; None for the models' own.
            classname: the class to map; one that the model does not know stands for the best.
            place: of the model; None where none looks at regions.
        """
        if picture is None or place is None:
            return (self._gradio.skip(),) * 3
        ranked = [
            row.classname for row in self.demo.rows(picture, names) if row.scores[place] is not None
        ]
        classname = classname if classname in ranked else ranked[0]
        drawn = self.demo.map_of(picture, place, classname, names)
        low, high = drawn.values.min().item(), drawn.values.max().item()
        classes = self._gradio.Dropdown(choices=ranked, value=classname)
        key = map_key(self.demo.models[place].name, classname, low, high)
        return classes, drawn.image, key

    def _error(self, error: Exception) -> str:
        """A user's mistake as a line of the page; a defect goes on to the terminal."""
        if not is_mistake(error):
            raise error
        return f'<p role="alert">⚠ {escape(message_of(error))}</p>'


def map_key(model: str, classname: str, low: float, high: float) -> str:
    """What a region map's colours mean, as HTML: the ramp between its lowest and highest value."""
    stops = ", ".join(f"rgb{colour}" for colour in RAMP)
    return (
        f"<p>{escape(model)}: similarity of “{escape(classname)}” to each region, "
        f'<span style="white-space: nowrap">{low:.3f} <span style="display: inline-block; '
        f'width: 6em; height: 0.8em; background: linear-gradient(to right, {stops})"></span> '
        f"{high:.3f}</span></p>"
    )


def import_gradio() -> ModuleType:
    """Gradio, without its statistics, its look for newer versions and its list of past calls.

    Raises:
        ImportError: it is not installed.
    """
    for variable in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY"):
        os.environ[variable] = "False"
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise ImportError(
            "The demo page needs gradio. Install it: pip install -r requirements-optional.txt"
        ) from error
    return gradio

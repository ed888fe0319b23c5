"""Maps in the output cell of a notebook: a frame of their own, that needs no network and meets nothing around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

_HEIGHT = 560  # pixels, until the frame has measured itself
# What a notebook may do with a frame: lay it out at once, later, or hidden.
FIT = """(() => {
  const fit = () => { try { if (document.body.offsetHeight) frameElement.style.height = document.body.offsetHeight + "px"; } catch {} };
  new ResizeObserver(fit).observe(document.body); fit();
})();"""
_LOOKS = "body { background: var(--card); font-size: 14px; } .sides { padding: .5rem .25rem .75rem; } .sentence { font-size: 1.1rem; }"


@dataclass(frozen=True)
class Side:
    """One map: what is over it, its HTML, and the script that this needs."""

    modality: str
    method: str
    warnings: Sequence[str]
    fragment: str
    script: str

    def html(self) -> Markup:
        notes = Markup("").join(Markup('<p class="note">{}</p>').format(said) for said in self.warnings)
        return Markup('<section class="side"><h3>{} <small>{}</small></h3>{}{}</section>').format(
            self.modality, self.method, notes, Markup(self.fragment)
        )


def framed(
    title: str,
    rows: Sequence[Sequence[Side]],
    *,
    over: str = "",
    under: str = "",
    script: str = "",
    kind: str = "",
) -> str:
    """Rows of maps beside each other as HTML: a line of text and an <iframe>.

    title        in plain text, shown as well where frames are taken out (a notebook that is not trusted)
    over, under  HTML before and after the maps, with a script that it needs
    kind         a class of the style sheet for all of it
    """
    style = files("m2ib.page").joinpath("page.css").read_text(encoding="utf-8")
    scripts = dict.fromkeys([*(side.script for row in rows for side in row), script, FIT])
    shown = [
        Markup('<div class="sides">{}</div>').format(Markup("").join(side.html() for side in row))
        for row in rows
    ]
    document = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<title>{title}</title><style>{style}</style></head><body class="{kind}">{over}{rows}{under}<script>{script}</script></body></html>'
    ).format(
        title=title,
        style=Markup(style + _LOOKS),
        kind=kind,
        over=Markup(over),
        under=Markup(under),
        rows=Markup("").join(shown),
        script=Markup("\n".join(filter(None, scripts))),
    )
    return Markup(
        '<div>{title}</div><iframe title="{title}" srcdoc="{document}" style="width:100%;height:{height}px;border:0"></iframe>'
    ).format(title=title, document=str(document), height=_HEIGHT)

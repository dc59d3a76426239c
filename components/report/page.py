"""The report as one HTML file that needs nothing else: what the sections are, and how text gets
into HTML without becoming HTML.

Three things keep names of files and classes inert: Jinja escapes every value, characters that could
turn or break lines are made visible, and the page's content security policy runs no script but our
own and allows no request.
"""

import json
import math
import secrets
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from components.metadata.stored_run import StoredRun
from components.report.contents import Contents, collect
from trainer_module.errors import visible
from trainer_module.findings import counted

FOLDER = Path(__file__).resolve().parent
TEMPLATE, STYLE, SCRIPT = "page.html", "page.css", "page.js"


def write_report(run: StoredRun, path: Path) -> Contents:
    """Writes the report of a run to an HTML file and returns what it tells.

    Args:
      run: finished or not.
      path: of the file.
    """
    contents = collect(run)
    path.write_text(render(contents), encoding="utf-8")
    return contents


def render(contents: Contents) -> str:
    """Returns the page."""
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
    )
    environment.filters |= {
        "json_data": json_data,
        "percent": percent,
        "duration": duration,
        "megabytes": megabytes,
        "counted": counted,
    }
    own = {
        name: markupsafe.Markup((FOLDER / name).read_text(encoding="utf-8"))
        for name in (STYLE, SCRIPT)
    }
    return environment.get_template(TEMPLATE).render(
        report=contents,
        style=own[STYLE],
        script=own[SCRIPT],
        plotly=markupsafe.Markup(get_plotlyjs().replace("</script", "<\\/script")),
        nonce=secrets.token_urlsafe(16),
    )


def _finalize(value: Any) -> Any:
    return (
        visible(value, kept="")
        if isinstance(value, str) and not isinstance(value, markupsafe.Markup)
        else value
    )


def json_data(value: Any) -> markupsafe.Markup:
    """Returns plain values as JSON that can stand inside a <script> element."""
    return markupsafe.Markup(
        jinja2.utils.htmlsafe_json_dumps(_seen(value), separators=(",", ":"), dumps=json.dumps)
    )


def _seen(value: Any) -> Any:
    """Returns plain values with all texts made visible, and None for NaN and infinity, which JSON
    does not have.
    """
    if isinstance(value, str):
        return visible(value, kept="")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _seen(item) for key, item in value.items()}
    return [_seen(item) for item in value] if isinstance(value, list | tuple) else value


def percent(share: float | None) -> str:
    """Returns a share in [0, 1] as a person reads it."""
    return "-" if share is None else f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Returns a time as a person reads it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def megabytes(count: float) -> str:
    """Returns bytes as a person reads them."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"

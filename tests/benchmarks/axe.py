"""What axe-core finds on pages: each in light and dark, wide and as narrow as a telephone.

    npm pack axe-core && tar xzf axe-core-*.tgz
    m2ib demo --out pages/demo && m2ib demo --modalities --out pages/scene
    mkdocs build --site-dir pages/site
    python tests/benchmarks/axe.py pages --axe package/axe.min.js [--browser /usr/bin/chromium] [--pictures FOLDER]

Needs playwright and a Chromium; m2ib itself is not needed. Of a folder every page is opened, and everything in it that can be unfolded is,
frames too. Printed for each page, theme and width: how many elements violate a rule of axe, by its severity, and by how many pixels what
does not scroll in a place of its own is wider than the window; below the table, the rules. The exit status is 1 where something is critical
or serious, or a page wider than the window. Seconds a page.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SEVERITIES = ("critical", "serious", "moderate", "minor")
WIDTHS = (1280, 390)
UNFOLD = "() => { for (const each of document.querySelectorAll('details')) each.open = true; }"
WIDER = """() => {
  const scrolls = (each) => getComputedStyle(each).overflowX !== "visible", width = document.documentElement.clientWidth;
  const inside = (each) => { while ((each = each.parentElement) && each !== document.body) if (scrolls(each)) return true; return false; };
  const seen = [...document.body.querySelectorAll("*")].filter((each) => each.checkVisibility({visibilityProperty: true}) && !inside(each));
  return Math.round(Math.max(0, ...seen.map((each) => each.getBoundingClientRect().right - width)));
}"""
RUN = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"


def pages_in(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.html")) if path.is_dir() else [path]


def violations(page: Any, script: str) -> Iterator[tuple[str, str, str, str]]:
    """(severity, rule, what it asks for, the element) in all frames."""
    for frame in page.frames:
        frame.evaluate(script)
    for found in page.evaluate(RUN):
        for node in found["nodes"]:
            yield found["impact"], found["id"], found["help"], node["html"]


def shown(path: Path, roots: Sequence[Path]) -> str:
    """Its path from the folder's parent on."""
    root = next((root for root in roots if root.is_dir() and path.is_relative_to(root)), path.parent)
    return str(path.resolve().relative_to(root.resolve().parent))


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="+", type=Path, help="HTML files, or folders that hold some")
    parser.add_argument("--axe", required=True, type=Path, help="axe.min.js")
    parser.add_argument("--browser", help="of Chromium, the executable; default: playwright's own")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the pages")
    asked = parser.parse_args()
    script = asked.axe.read_text(encoding="utf-8")
    rules: dict[tuple[str, str, str], list[str]] = {}
    bad = False
    print(
        f"{'page':40} {'theme':6} {'width':>5} {' '.join(f'{each:>8}' for each in SEVERITIES)} {'wider':>6}"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked.browser, args=["--no-sandbox"])
        for path in pages_in(asked.pages):
            for theme in ("light", "dark"):
                for width in WIDTHS:
                    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                    page.goto(path.resolve().as_uri())
                    page.evaluate(UNFOLD)
                    page.wait_for_timeout(300)  # what was unfolded is drawn
                    wider = page.evaluate(WIDER)
                    name = shown(path, asked.pages)
                    if asked.pictures:
                        file = f"{name.removesuffix('.html').replace('/', '-')}-{theme}-{width}.png"
                        page.screenshot(path=asked.pictures / file, full_page=True)
                    found = Counter()
                    for severity, *rule, element in violations(page, script):
                        found[severity] += 1
                        rules.setdefault((severity, *rule), []).append(element)
                    page.close()
                    bad = bad or wider > 0 or bool(found["critical"] or found["serious"])
                    counts = " ".join(f"{found[each]:8}" for each in SEVERITIES)
                    print(f"{name:40} {theme:6} {width:5} {counts} {wider:6}", flush=True)
        browser.close()
    for (severity, rule, asks), elements in sorted(
        rules.items(), key=lambda each: SEVERITIES.index(each[0][0])
    ):
        print(f"{severity}: {rule} ({asks}), {len(elements)} times, as {elements[0]:.200}")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())

"""The documentation as a site: it builds without a warning, and each page fits a phone."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from browser import CHROMIUM, PHONE, installed
from playwright.sync_api import Page
from typer.main import get_command

import smidgen
from smidgen.cli import app

mkdocs = pytest.importorskip("mkdocs.config", reason="the extra docs is not installed")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mkdocs.commands.build import build

    folder = tmp_path_factory.mktemp("site")
    logger = logging.getLogger("mkdocs")
    try:
        build(mkdocs.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))  # it is strict
    finally:
        logger.handlers.clear()
    return folder


def test_every_page_of_the_docs_is_in_the_menu(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").glob("**/*.md")}
    menu = (site / "index.html").read_text("utf-8")
    assert {path for path in pages if f'href="{path.with_suffix(".html")}"' not in menu} == set()


def test_commands_and_functions_are_those_of_the_code(site: Path) -> None:
    commands = (site / "commands.html").read_text("utf-8")
    for name, command in get_command(app).commands.items():
        assert f'id="smidgen-{name}"' in commands
        for option in (each.opts[0] for each in command.params if "--" in each.opts[0]):
            assert option in commands
    api = (site / "api.html").read_text("utf-8")
    headed = set(re.findall(r'doc-heading">\s*smidgen\.(\w+)\s', api))
    assert headed == set(smidgen.__all__)


def test_the_links_of_github_lead_to_pages(site: Path) -> None:
    assert 'href="tutorials/students.html"' in (site / "index.html").read_text("utf-8")
    networks = (site / "networks.html").read_text("utf-8")
    assert "examples/networks" in networks
    assert "../examples" not in networks


@pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")
def test_each_page_fits_a_phone(site: Path, page: Page) -> None:
    page.set_viewport_size(PHONE)
    wide = []
    for path in sorted(site.glob("**/*.html")):
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path.name)
    assert wide == []

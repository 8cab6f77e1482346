"""The files around the code: what they name exists, and what they say twice is the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path | str) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def jobs(path: Path) -> dict[str, Any]:
    return read(path)["jobs"]


def values(path: Path, key: str) -> list[str]:
    """What the jobs of a workflow and their steps have under this key."""
    found = jobs(path).values()
    steps = [step for job in found for step in job.get("steps", [])]
    return [each[key] for each in (*found, *steps) if key in each]


def test_every_hook_runs_a_tool_of_the_dev_extra() -> None:
    tools = {re.match(r"[\w-]+", need)[0] for need in PROJECT["optional-dependencies"]["dev"]}
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    commands = {hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]}
    assert {command.split()[0] for command in commands} <= tools
    # The same commands as `make check`, but for the folder and the option that looks only.
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)[1]
    checked = re.findall(r"\$\(BIN\)/(\w+(?: [a-z]+)?)", recipe)
    assert commands == set(checked)


def test_the_citation_has_what_the_format_requires_and_our_version() -> None:
    citation = read("CITATION.cff")
    # https://github.com/citation-file-format/citation-file-format, schema 1.2.0, "required"
    assert citation.keys() >= {"authors", "cff-version", "message", "title"}
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == PROJECT["name"]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]


def test_the_changelog_dates_the_version_and_sorts_into_the_known_sections() -> None:
    releases = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", CHANGELOG, re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    assert releases[1] == (PROJECT["version"], read("CITATION.cff")["date-released"].isoformat())
    assert len(releases) == len(re.findall("^## ", CHANGELOG, re.MULTILINE))
    # https://keepachangelog.com/en/1.1.0/
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall("^### (.*)$", CHANGELOG, re.MULTILINE)) <= known


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_shows(path: Path) -> None:
    form = read(path)
    assert form.keys() >= {"name", "description", "body"}
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    for field in form["body"]:
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]


def test_dependabot_looks_after_what_is_there() -> None:
    kinds = {each["package-ecosystem"] for each in read(".github/dependabot.yml")["updates"]}
    assert kinds == {"pip", "github-actions"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_reads_only_and_names_the_versions_of_its_actions(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text("utf-8")
    for used in values(path, "uses"):
        own = used.startswith("./")
        assert (ROOT / used).is_file() if own else re.search(r"@(release/)?v\d+$", used), used
    scripts = [run for run in values(path, "run") if run.startswith(".")]
    assert all((ROOT / script).is_file() for script in scripts), scripts


def test_only_the_job_that_publishes_may_prove_who_it_is() -> None:
    allowed = {
        (path.stem, name): job["permissions"]
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if "permissions" in job
    }
    assert allowed == {("release", "publish"): {"id-token": "write", "contents": "write"}}
    publish = jobs(ROOT / ".github/workflows/release.yml")["publish"]
    assert publish["needs"] == ["test", "build", "install"]


def test_ci_runs_the_pythons_that_the_package_names() -> None:
    named = {each.rpartition(" ")[2] for each in PROJECT["classifiers"] if ":: 3." in each}
    matrix = jobs(ROOT / ".github/workflows/ci.yml")["linux"]["strategy"]["matrix"]["include"]
    assert {entry["python"] for entry in matrix} == named
    release = jobs(ROOT / ".github/workflows/release.yml")
    assert set(release["install"]["strategy"]["matrix"]["python"]) == named
    assert f">={min(named)}" == PROJECT["requires-python"]


def test_the_checks_of_a_clean_clone_end_in_make_test() -> None:
    assert (ROOT / ".ci" / "run").read_text("utf-8").endswith("\nmake test\n")


def test_the_wheel_is_the_same_to_the_byte_in_every_checkout(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("the wheel is built from what git has committed; this is no clone")
    digests = set()
    for umask, own in ((0o022, "a"), (0o077, "another")):
        clone = tmp_path / own
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True, umask=umask)
        (clone / "src" / "smidgen" / "left_over.py").touch()
        subprocess.run(
            ["make", "--silent", "dist", f"BIN={Path(sys.executable).parent}",
             "BUILD_OPTIONS=--no-isolation --wheel", "--assume-old=.venv/bin/python"],
            cwd=clone, check=True, umask=umask, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (wheel,) = (clone / "dist").glob("*.whl")
        digests.add(sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1

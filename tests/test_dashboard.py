"""The W&B workspace as code: it names what runs log, it validates, and the server's is compared with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_metrics_doc import documented, table
from wandb_server import Server, served
from wandb_workspaces.workspaces import Workspace
from wandb_workspaces.workspaces.internal import View, WorkspaceViewspec

from gandist import Examination, Metric
from gandist.cli import main
from gandist.contract.discovery import installed
from gandist.tracking import dashboard

SECTIONS = [
    "Samples", "Metrics", "Held-out samples", "Losses", "Gradients of the generator", "Gradients of the discriminator",
    "Health", "Throughput", "Rank 0", "Rank 1",
]  # fmt: skip
EXAMPLES = {"<player>": ("generator", "discriminator"), "<term>": ("r1",), "<class>": ("3",), "<rank>": ("0",)}


def panels(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for section in spec["section"]["panelBankConfig"]["sections"] for panel in section["panels"]]


def logged() -> set[str]:
    """Keys as runs log them: the rows of docs/metrics.md with examples for what varies."""
    found = set(table())
    for gap, values in EXAMPLES.items():
        found = {key.replace(gap, value) for key in found for value in values}
    return found


def test_every_value_that_it_names_is_one_that_runs_log():
    spec = dashboard.spec(dashboard.workspace("p", "e", workers=2))
    named = {key for panel in panels(spec) for key in panel["config"].get("metrics", [])}
    assert len(named) > 25
    assert [key for key in sorted(named) if documented(key) is None] == []
    assert {panel["config"]["xAxis"] for panel in panels(spec) if "xAxis" in panel["config"]} == {"images"}
    patterns = [panel["config"]["metricRegex"] for panel in panels(spec) if "metricRegex" in panel["config"]]
    assert len(patterns) == 8
    for pattern in patterns:
        assert any(re.search(pattern, key) for key in logged()), pattern
    pictures = {key for panel in panels(spec) for key in panel["config"].get("mediaKeys", [])}
    text = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    draw = [one for one in installed().components(Metric) if issubclass(one, Examination) and "picture" in vars(one)]
    assert pictures == {"samples", *(f"pictures/{one.name}" for one in draw)}
    assert all(f"`{picture}`" in text.partition("Weights & Biases also gets")[2] for picture in pictures)


def test_every_value_that_runs_log_is_shown():
    spec = dashboard.spec(dashboard.workspace("p", "e"))
    named = {key for panel in panels(spec) for key in panel["config"].get("metrics", [])}
    patterns = [panel["config"]["metricRegex"] for panel in panels(spec) if "metricRegex" in panel["config"]]
    shown = {key for key in logged() if key in named or any(re.search(pattern, key) for pattern in patterns)}
    # The axis, and what the parts of a step add up to.
    assert logged() - shown == {"images", "seconds/step"}


def test_the_workspace_validates_and_is_read_back():
    made = dashboard.workspace("p", "e", workers=2)
    spec = dashboard.spec(made)
    read = WorkspaceViewspec.model_validate_json(json.dumps(spec))
    view = View(entity="e", project="p", display_name="gandist", name="n", id="i", spec=read)
    again = Workspace._from_model(view)
    assert [section.name for section in again.sections] == SECTIONS
    assert dashboard.changes(dashboard.spec(again), spec) == []
    assert made.settings.x_axis == "images"


def test_changes_are_told_by_section_and_panel():
    def spec(workers: int = 1) -> dict[str, Any]:
        return dashboard.spec(dashboard.workspace("p", "e", workers=workers))

    assert dashboard.changes(spec(), spec()) == []
    assert dashboard.changes(spec(2), spec()) == ["section Rank 1: is removed"]
    assert len(dashboard.changes(None, spec())) == len(SECTIONS) - 1
    old = spec()
    losses = next(one for one in old["section"]["panelBankConfig"]["sections"] if one["name"] == "Losses")
    losses["panels"][0]["config"]["metrics"] = ["loss/generator/total"]
    losses["panels"][1]["config"]["chartTitle"] = "Mine"
    told = dashboard.changes(old, spec())
    assert told[0].startswith("section Losses: panel “Total losses”: metrics ['loss/generator/total'] → ")
    assert told[1:] == [
        "section Losses: panel “Mine” is removed",
        "section Losses: panel “Terms of the generator's loss” is added",
    ]
    old = spec()
    old["section"]["panelBankConfig"]["sections"].reverse()
    assert len(dashboard.changes(old, spec())) == 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server on loopback, and an account for it."""
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_SILENT", "true")
    with served("none") as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        yield running


def test_the_server_gets_it_once_and_check_says_what_would_change(server: Server, capsys: pytest.CaptureFixture[str]):
    server.views = {"other": {"id": "other", "name": "nw-x-v", "displayName": "mine", "spec": "{}"}}
    command = ["dashboard", "--project", "p", "--entity", "e"]
    assert main([*command, "--check"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "section Samples: is added"
    assert list(server.views) == ["other"]

    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["project"], len(told["changed"])) == ("e/p", len(SECTIONS) - 1)
    (key,) = set(server.views) - {"other"}
    sent = server.views[key]
    assert sent["displayName"] == "gandist"
    assert json.loads(sent["spec"])["section"]["panelBankConfig"]["sections"][0]["name"] == "Samples"

    assert main([*command, "--check"]) == 0
    assert capsys.readouterr().out == "nothing would change\n"
    assert main([*command, "--workers", "2"]) == 0
    assert len(server.views) == 2
    assert '"Rank 1"' in server.views[key]["spec"]
    capsys.readouterr()
    assert main([*command, "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"] == ["section Rank 1: is removed"]


def test_a_project_that_is_not_there(server: Server, capsys: pytest.CaptureFixture[str]):
    server.views = None
    assert main(["dashboard", "--project", "nowhere", "--check"]) == 2
    assert "--project nowhere: tester has no such project" in capsys.readouterr().err


def test_without_a_server_there_is_one_clear_error(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dashboard, "TIMEOUT", 1)
    server.die()
    assert main(["dashboard", "--project", "p", "--check"]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("the W&B server does not answer as it should (")
    assert told.endswith("--out dashboard.json")


def test_it_is_written_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "dashboard.json"
    assert main(["dashboard", "--project", "p", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"workspace": str(out), "sections": 9, "panels": 35}
    WorkspaceViewspec.model_validate_json(out.read_text())
    assert main(["dashboard", "--project", "p", "--out", str(out), "--check"]) == 2
    assert main(["dashboard"]) == 2
    assert "--project" in capsys.readouterr().err


def test_without_its_library_it_names_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces.workspaces", None)
    assert main(["dashboard", "--project", "p", "--check"]) == 2
    assert capsys.readouterr().err.strip().endswith("pip install 'gandist[dashboard]'")

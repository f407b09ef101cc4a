"""A Weights & Biases workspace as code: the panels for what runs log, in one place for everybody in a project."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from gandist.errors import ConfigError, RunError

NAME = "gandist"
"""What the workspace is called in its project, unless told otherwise."""
TIMEOUT = 20
"""Seconds that an answer of the server is waited for."""
PARTS = ("data", "discriminator", "generator", "evaluation", "samples", "checkpoint", "logging", "other")
"""What `seconds/step` is made of."""
_VIEWS = """
query Views($entity: String, $project: String) {
  project(name: $project, entityName: $entity) {
    allViews(viewType: "project-view") { edges { node { id name displayName spec } } }
  }
}
"""


@dataclass(frozen=True)
class Panel:
    """One panel. keys: logged values, or patterns of them if `kind` is "every"."""

    title: str
    keys: tuple[str, ...]
    kind: Literal["lines", "stacked", "every", "pictures"] = "lines"
    log: bool = False


def sections(workers: int) -> dict[str, list[Panel]]:
    """All panels by section. Each key is one that docs/metrics.md lists; a panel without values stays empty."""
    players = ("generator", "discriminator")
    return {
        "Samples": [Panel("Samples", ("samples",), "pictures")],
        "Metrics": [
            Panel("Fréchet distance", ("evaluation/frechet", "evaluation/frechet_real")),
            Panel("Confident samples", ("evaluation/confident", "evaluation/confident_real")),
            Panel("Least and greatest class", ("evaluation/smallest_class", "evaluation/largest_class")),
            Panel("Share of each class", ("evaluation/class_share/.+",), "every"),
            Panel("Fréchet distance of each class", ("evaluation/class_frechet/.+",), "every"),
            Panel("Diversity of each class", ("evaluation/diversity/.+",), "every"),
            Panel("Kernel distance", ("evaluation/kid", "evaluation/kid_real")),
            Panel("Precision and recall", ("evaluation/precision", "evaluation/recall")),
            Panel("Modes hit", ("evaluation/modes_hit", "evaluation/modes")),
            Panel("Good points", ("evaluation/good",)),
            Panel("Reverse KL divergence", ("evaluation/reverse_kl",)),
            Panel("All scores", ("evaluation/[^/]+",), "every"),
        ],
        "Held-out samples": [
            Panel("Confusion matrix", ("pictures/test-error",), "pictures"),
            Panel("ROC curve of anomalies", ("pictures/anomalies",), "pictures"),
            Panel("Test error", ("evaluation/test_error",)),
            Panel("Anomalies", tuple(f"evaluation/{name}" for name in ("auroc", "average_precision", "pixel_auroc"))),
            *(
                Panel(title, (f"evaluation/{name}", f"evaluation/{name}_identity"))
                for title, name in (("L1 of translations", "l1"), ("Structural similarity of translations", "ssim"))
            ),
        ],
        "Losses": [
            Panel("Total losses", tuple(f"loss/{player}/total" for player in players)),
            *(Panel(f"Terms of the {player}'s loss", (f"loss/{player}/.+",), "every") for player in players),
        ],
        **{
            f"Gradients of the {player}": [
                Panel(f"Gradient norm of the {player}", (f"gradient_norm/{player}",), log=True),
                Panel(f"Learning rate of the {player}", (f"lr/{player}",)),
            ]
            for player in players
        },
        "Health": [
            Panel("Probability of being real", ("probability/real", "probability/fake")),
            Panel("Logits", ("logits/real", "logits/fake")),
            Panel("Accuracy of the discriminator", ("accuracy/.+",), "every"),
            Panel("What the watcher of health measures", ("health/.+",), "every"),
            Panel("All gradient norms", tuple(f"gradient_norm/{player}" for player in players), log=True),
        ],
        "Throughput": [
            Panel("Images per second", ("images_per_second",)),
            Panel("Seconds of a step", tuple(f"seconds/{part}" for part in PARTS), "stacked"),
            Panel("GPU memory, GiB", ("memory/gpu_gib",)),
        ],
        **{
            f"Rank {rank}": [Panel(f"Seconds since rank {rank}'s last sign of life", (f"heartbeat/rank-{rank}",))]
            for rank in range(workers)
        },
    }


def workspace(project: str, entity: str = "", name: str = NAME, workers: int = 1) -> Any:
    """The workspace, as wandb-workspaces has it; nothing is asked of a server."""
    ws, wr = _library()

    def panel(one: Panel) -> Any:
        if one.kind == "pictures":
            return wr.MediaBrowser(title=one.title, media_keys=list(one.keys), num_columns=1, gallery_axis="step")
        if one.kind == "every":
            return wr.LinePlot(title=one.title, x="images", metric_regex="|".join(f"^{key}$" for key in one.keys))
        style = "stacked-area" if one.kind == "stacked" else "line"
        return wr.LinePlot(title=one.title, x="images", y=list(one.keys), log_y=one.log or None, plot_type=style)

    def section(title: str, panels: list[Panel]) -> Any:
        wide = len(panels) == 1
        layout = ws.SectionLayoutSettings(columns=1 if wide else 3, rows=1 if len(panels) <= 3 else 3)
        shown = not title.startswith("Rank")
        return ws.Section(
            name=title, panels=[panel(one) for one in panels], is_open=shown, pinned=False, layout_settings=layout
        )

    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[section(title, panels) for title, panels in sections(workers).items()],
        settings=ws.WorkspaceSettings(x_axis="images"),
        auto_generate_panels=False,
    )


def spec(made: Any) -> dict[str, Any]:
    """What the server would be sent of a workspace, as plain JSON values."""
    return json.loads(made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def save(project: str, entity: str | None, name: str = NAME, workers: int = 1) -> dict[str, Any]:
    """Makes the project's workspace of this name, or makes it what the code says. Its `url`, and what `changed`.

    Raises ConfigError without wandb-workspaces or an account, RunError if the server is away or refuses.
    """
    _library()
    with _told():
        made, old = _both(project, entity, name, workers)
        changed = changes(old["spec"] if old else None, spec(made))
        if old:
            made._internal_name, made._internal_id = old["name"], old["id"]
        if changed:
            made.save()
        return {"project": f"{made.entity}/{project}", "name": name, "url": made.url, "changed": changed}


def check(project: str, entity: str | None, name: str = NAME, workers: int = 1) -> dict[str, Any]:
    """What `save` would change; nothing is changed. Raises as `save` does."""
    _library()
    with _told():
        made, old = _both(project, entity, name, workers)
        changed = changes(old["spec"] if old else None, spec(made))
        return {"project": f"{made.entity}/{project}", "name": name, "there": old is not None, "changes": changed}


def changes(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """What differs between two specs, section by section and panel by panel; ids and UI state do not count."""
    before, after = _sections(old) if old else {}, _sections(new)
    lines: list[str] = []
    for title in dict.fromkeys([*before, *after]):
        if title not in before or title not in after:
            lines.append(f"section {title}: {'is added' if title in after else 'is removed'}")
            continue
        one, other = before[title], after[title]
        for panel in dict.fromkeys([*one, *other]):
            if panel not in one or panel not in other:
                lines.append(f"section {title}: panel “{panel}” {'is added' if panel in other else 'is removed'}")
            elif one[panel] != other[panel]:
                keys = sorted(k for k in {*one[panel], *other[panel]} if one[panel].get(k) != other[panel].get(k))
                lines += [
                    f"section {title}: panel “{panel}”: {key} {one[panel].get(key)} → {other[panel].get(key)}"
                    for key in keys
                ]
    if not lines and list(before) != list(after):
        lines.append(f"order of the sections: {', '.join(before)} → {', '.join(after)}")
    return lines


def _sections(whole: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Title of a section → title of a panel → what the panel shows."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    bank = (whole.get("section") or {}).get("panelBankConfig") or {}
    for section in bank.get("sections") or []:
        panels = found.setdefault(str(section.get("name")), {})
        for panel in section.get("panels") or []:
            config = {key: value for key, value in (panel.get("config") or {}).items() if value not in (None, [], {})}
            panels[str(config.pop("chartTitle", "without a title"))] = {"kind": panel.get("viewType"), **config}
    return found


def _both(project: str, entity: str | None, name: str, workers: int) -> tuple[Any, dict[str, Any] | None]:
    """The workspace of the code, and the server's: `id`, `name` and `spec`, None if there is none."""
    import wandb

    execute: Callable[..., dict[str, Any]] = _graphql()
    api = wandb.Api(timeout=TIMEOUT)
    owner = entity or api.default_entity or ""
    made = workspace(project, owner, name, workers)
    found = execute(api, _VIEWS, {"entity": owner, "project": project}).get("project")
    if found is None:
        raise ConfigError(
            f"--project {project}: {owner} has no such project that this account sees; a run makes it: "
            f"tracking.wandb.project={project} tracking.wandb.mode=online"
        )
    nodes = [edge["node"] for edge in found["allViews"]["edges"]]
    for node in nodes:
        if node["displayName"] == name:
            return made, {"id": node["id"], "name": node["name"], "spec": json.loads(node["spec"] or "{}")}
    return made, None


@contextmanager
def _told() -> Iterator[None]:
    """Turns what the client raises into one error that says what to do."""
    from wandb.errors import UsageError

    try:
        yield
    except (ConfigError, RunError):
        raise
    except UsageError as error:
        raise ConfigError(f"W&B knows no account here ({_first(error)}); run: wandb login") from None
    except Exception as error:
        raise RunError(
            f"the W&B server does not answer as it should ({_first(error)}); the workspace alone, without a server: "
            f"gandist dashboard --project PROJECT --out dashboard.json"
        ) from None


def _library() -> tuple[Any, Any]:
    """wandb_workspaces.workspaces and its panels. Raises ConfigError naming the command that installs them."""
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise ConfigError(
            "a dashboard needs wandb-workspaces, which is not installed: pip install 'gandist[dashboard]'"
        ) from None
    return ws, wr


def _graphql() -> Callable[..., dict[str, Any]]:
    from wandb_workspaces._graphql import execute_graphql

    return execute_graphql


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

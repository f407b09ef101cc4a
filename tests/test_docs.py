"""What the documents say is true: commands parse, files exist, configs are valid, and pinned names are the code's."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import config_tables
import pytest
import typer

import gandist
from gandist.cli.verbs import app
from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.config.sweep import read_sweep
from gandist.config.trials import trials
from gandist.contract import hookspecs
from gandist.evaluation.metrics import scores, validate

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *(ROOT / name for name in ("configs/README.md", "cluster/README.md", "plugins/README.md")),
    ROOT / "plugins" / "example" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SWEEPS = sorted((ROOT / "configs").glob("sweep-*.yaml"))
CONFIGS = sorted(set((ROOT / "configs").rglob("*.yaml")) - set(SWEEPS))
COMMAND: Any = typer.main.get_command(app)

VERBS = {
    "augment", "check", "classify", "config", "dashboard", "doctor", "evaluate", "export", "interpolate",
    "interpret", "jobs", "pack", "plugins", "report", "sample", "schema", "score", "submit", "sweep", "train",
    "translate",
}  # fmt: skip
PUBLIC = {
    "Anneal", "Architecture", "Augmentation", "CheckpointError", "Classifies", "Compared", "Component",
    "ConfigError", "Dataset", "Examination", "Examined", "Exploration", "Explored", "Extractor", "Facts",
    "FindsAnomalies", "GandistError", "Loss", "Memory", "Metric", "Noise", "Optimizer", "Place", "Probe", "Real",
    "Recomputable", "Regularizer", "RunError", "Schedule", "Scored", "Seen", "Shows", "ShowsAnomalies", "Source",
    "Translates", "Turn", "Verdict", "Watcher", "all_sum", "as_played", "auroc", "average_precision", "cache_folder",
    "class_logits", "classifier_of", "defined_in", "download", "fitted_classifier", "hookimpl", "load", "nearest",
    "slopes", "squared_distances", "train", "train_classifier",
}  # fmt: skip
HOOKS = {
    "gandist_architectures", "gandist_augmentations", "gandist_datasets", "gandist_extractors", "gandist_losses",
    "gandist_metrics", "gandist_on_alarm", "gandist_on_checkpoint", "gandist_on_evaluation", "gandist_on_log",
    "gandist_on_pictures", "gandist_on_probe", "gandist_on_samples", "gandist_on_train_end",
    "gandist_on_train_start", "gandist_optimizers", "gandist_regularizers", "gandist_watchers",
}  # fmt: skip


def each(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(ROOT)) for path in paths])


def blocks(path: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [text for language, text in found if language in languages]


def inline(path: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def commands(path: Path) -> list[list[str]]:
    """What stands in code blocks as a command of gandist, without the program's name."""
    lines = [line for text in blocks(path, "", "bash", "sh", "yaml") for line in text.splitlines()]
    ours = [match[1] for line in lines if (match := re.match(r"(?:# )?gandist ([a-z].*)", line))]
    return [shlex.split(command, comments=True) for command in ours]


def taken(group: Any) -> int:
    """How many words a group of verbs takes before its verb."""
    return sum(param.param_type_name == "argument" for param in group.params)


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The parameters that a command line gives; nothing is executed."""
    verb, *rest = arguments
    assert verb in COMMAND.commands, f"no verb {verb}"
    command = COMMAND.commands[verb]
    if hasattr(command, "commands"):
        verb, *rest = rest[taken(command) :]
        command = command.commands[verb]
    with command.make_context(verb, rest) as context:
        return context.params


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type commands in, with the repository's configs."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each(DOCUMENTS)
def test_commands_parse_and_their_configs_are_valid(path: Path, beside: Path):
    for text in blocks(path, "yaml"):
        if (match := re.match(r"# gandist (?:train|sweep) (\S+\.yaml)\n", text)) is not None:
            Path(match[1]).write_text(text)
    example = ROOT / "plugins" / "example" / "configs"
    for arguments in commands(path):
        params = parsed(arguments)
        if arguments[0] in ("train", "check", "config", "submit"):
            config = Path(params.get("config") or params["path"])
            if config.parts[0] == "runs":
                # Written by a command before it.
                continue
            if path.is_relative_to(ROOT / "plugins") and not config.is_file():
                config = example / config.name
            given = [f"cluster.workers={params['workers']}"] if params.get("workers") else []
            resolve(compose(config, [*(params["overrides"] or []), *given]))
        if arguments[0] == "sweep":
            trials(read_sweep(params["file"], params["name"], params["overrides"] or []), validate, scores)


@each(DOCUMENTS)
def test_commands_in_the_text_exist(path: Path):
    for code in inline(path):
        if (match := re.match(r"gandist ([a-z]\S*)", code)) is not None:
            assert match[1] in COMMAND.commands, code
            command = COMMAND.commands[match[1]]
            if below := getattr(command, "commands", None):
                inner = code.split()[2 + taken(command) :]
                command = below[inner[0]] if inner and inner[0].isalpha() else command
            known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
            assert set(re.findall(r"--[a-z]+", code)) <= known, code


@each(DOCUMENTS)
def test_targets_and_scripts_exist(path: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join([*blocks(path, "", "bash", "sh"), *inline(path)])
    assert set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE)) <= targets
    for script in re.findall(r"^python (\S+\.py)", code, re.MULTILINE):
        assert (ROOT / script).is_file(), script


@each(DOCUMENTS)
def test_links_lead_somewhere(path: Path):
    for link in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (path.parent / link).exists(), link


@each(DOCUMENTS)
def test_pieces_of_yaml_are_valid(path: Path, beside: Path):
    for number, text in enumerate(text for text in blocks(path, "yaml") if not text.startswith("# gandist sweep")):
        whole = text if text.startswith("# gandist train") else f"extends: configs/digits.yaml\n{text}"
        file = Path(f"piece-{number}.yaml")
        file.write_text(whole)
        resolve(compose(file))


@each(DOCUMENTS)
def test_python_compiles_and_takes_public_names(path: Path):
    for text in blocks(path, "python"):
        # The tutorial shows methods as they stand in a class.
        compile(text if not text.startswith("    ") else f"class _:\n{text}", str(path), "exec")
        names = set(re.findall(r"\bgandist\.(\w+)\(", text))
        for imported in re.findall(r"^from gandist import (.+)$", text, re.MULTILINE):
            names |= {name.strip() for name in imported.split(",")}
        assert names <= PUBLIC


@each(CONFIGS)
def test_every_config_is_valid_and_begins_with_its_command(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    name = path.relative_to(ROOT)
    if name.parts[1] != "base":
        first = path.read_text().splitlines()[0]
        assert re.fullmatch(rf"# gandist train {name}( dataset\.root=\S+)?", first)
        resolve(compose(name, parsed(shlex.split(first)[2:])["overrides"] or []))
        listed = name.relative_to("configs").with_suffix("")
        assert f"`{listed}`" in (ROOT / "configs" / "README.md").read_text().partition("## Writing one")[0]


@each(SWEEPS)
def test_every_sweep_is_valid_and_begins_with_its_command(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    name = path.relative_to(ROOT)
    assert trials(read_sweep(name), validate, scores)
    assert path.read_text().startswith(f"# gandist sweep {name}\n")
    assert f"`{path.stem}`" in (ROOT / "configs" / "README.md").read_text().partition("## Writing one")[0]


def test_every_key_of_a_config_is_in_its_table():
    written = config_tables.in_document(config_tables.DOCUMENT.read_text(encoding="utf-8"))
    assert written == config_tables.tables().strip(), "run: python tests/config_tables.py"


def tree() -> dict[str, str]:
    """Path → comment, of the README's file tree."""
    (text,) = [text for text in blocks(ROOT / "README.md", "") if text.startswith("gandist/ ")]
    found, above = {}, [""]
    for line in text.splitlines():
        indent, name, comment = re.fullmatch(r"( *)(\S+)\s*(.*)", line).groups()  # type: ignore[union-attr]
        depth = len(indent) // 2
        above[depth + 1 :] = [above[depth] + name]
        found[above[depth] + name] = comment
    return found


def test_the_file_tree_is_there_and_explained():
    for name, comment in tree().items():
        assert (ROOT / name).exists(), name
        assert (ROOT / name).is_dir() == name.endswith("/"), name
        assert comment, name


def test_the_file_tree_leaves_nothing_out():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("only git knows which files belong to the project, and this is no checkout")
    listing = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files"]
    files = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
    known = tree()
    for file in (Path(name) for name in files if not name.startswith(".")):
        shown = 2 if file.parts[0] in ("gandist", "plugins") else 1
        name = "/".join(file.parts[:shown]) + ("/" if len(file.parts) > shown else "")
        assert name in known, f"{name} is not in the README's file tree"


def test_public_names_are_pinned():
    assert set(gandist.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(gandist, name).__doc__, name


def test_verbs_are_pinned_and_shown():
    assert set(COMMAND.commands) == VERBS
    assert {command[0] for path in DOCUMENTS for command in commands(path)} == VERBS


def test_hooks_are_pinned_and_documented():
    assert {name for name in vars(hookspecs) if name.startswith("gandist_")} == HOOKS
    tutorial = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
    for hook in HOOKS:
        assert f"{hook}(" in tutorial, hook

"""The files of cluster/ can be applied as they are: real schemas, real linters, and a Slurm job with its tools replaced
by ones that write down how they were called."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gandist.config.compose import compose
from gandist.config.resolve import resolve
from tests import kuberay
from tests.test_docs import parsed

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"
KUBERNETES = sorted((CLUSTER / "kuberay").glob("*.yaml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
)


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def ray_documents() -> list[dict[str, Any]]:
    found = [document for path in KUBERNETES for document in documents(path)]
    return [document for document in found if document["kind"] in kuberay.KINDS]


def spec_of(document: dict[str, Any]) -> dict[str, Any]:
    """The cluster that a RayCluster is, or that a RayJob brings."""
    return document["spec"].get("rayClusterSpec", document["spec"])


def pods(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    spec = spec_of(document)
    yield "head", spec["headGroupSpec"]["template"]
    for group in spec["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


def tool(name: str, whence: str = "`make install` installs it") -> str:
    """A program: a linter of pyproject.toml's test group, or another one."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}; {whence}")
    return found


def require_valid(document: dict[str, Any]) -> None:
    """Kubernetes' own schema for its objects and for the pods in KubeRay's; KubeRay's for the rest."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("there is no kubernetes-validate; `make install` installs it")
    import kubernetes_validate

    version = kubernetes_validate.latest_version()
    if document["kind"] not in kuberay.KINDS:
        kubernetes_validate.validate(document, version, strict=True)
        return
    for schema in kuberay.schemas(document["kind"]):
        jsonschema.Draft7Validator(schema).validate(document)
    for name, template in pods(document):
        whole = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": template}
        kubernetes_validate.validate(whole, version, strict=True)


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_manifests_keep_to_the_schemas(path: Path):
    for document in documents(path):
        if document["kind"] != "Kustomization":
            require_valid(document)


def test_a_manifest_with_a_mistake_is_found():
    document = ray_documents()[0]
    spec_of(document)["headGroupSpec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(Exception, match="imagePulPolicy"):
        require_valid(document)
    document = ray_documents()[0]
    spec_of(document)["workerGroupSpec"] = []
    with pytest.raises(jsonschema.ValidationError, match="workerGroupSpec"):
        require_valid(document)


@pytest.mark.parametrize("folder", ["kuberay", "kind"])
def test_kustomizations_build_valid_manifests(folder: str):
    build = [tool("kubectl", "it comes with Kubernetes"), "kustomize", str(CLUSTER / folder)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    kinds = []
    for document in yaml.safe_load_all(built.stdout):
        kinds.append(document["kind"])
        require_valid(document)
        if folder == "kind" and document["kind"] == "RayJob":
            assert "nvidia.com/gpu" not in yaml.safe_dump(document).replace("key: nvidia.com/gpu", "")
    assert sorted(kinds) == ["PersistentVolumeClaim", "RayJob"]


def test_pods_have_what_training_needs():
    for document in ray_documents():
        for name, template in pods(document):
            (container,) = template["spec"]["containers"]
            volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
            mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
            assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
            assert mounts["/storage"]["persistentVolumeClaim"]["claimName"] == "gandist"
            assert container["readinessProbe"]["httpGet"] == container["livenessProbe"]["httpGet"]
            variables = {variable["name"]: variable for variable in container["env"]}
            assert variables["WANDB_API_KEY"]["valueFrom"]["secretKeyRef"]["optional"], "works without the secret"
            assert container["image"] == f"gandist:{PROJECT['version']}"
            assert template["spec"]["securityContext"]["runAsUser"] == 1000
            gpus = container["resources"]["limits"].get("nvidia.com/gpu")
            assert bool(gpus) == (name == "gpu")


def test_the_head_takes_no_work_and_clusters_ask_for_a_token():
    for document in ray_documents():
        spec = spec_of(document)
        assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["enableInTreeAutoscaling"]
        assert spec["rayVersion"] == PINNED["ray"]
        assert all(group["minReplicas"] == 0 for group in spec["workerGroupSpecs"])


def test_job_and_cluster_are_one_cluster():
    job, cluster = sorted(ray_documents(), key=lambda document: document["kind"], reverse=True)
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]


def entrypoints() -> list[str]:
    found = [document["spec"]["entrypoint"] for document in ray_documents() if document["kind"] == "RayJob"]
    text = (CLUSTER / "kind" / "kustomization.yaml").read_text(encoding="utf-8")
    patches = [yaml.safe_load(patch["patch"]) for patch in yaml.safe_load(text)["patches"]]
    found += [step["value"] for patch in patches for step in patch if step["path"] == "/spec/entrypoint"]
    assert len(found) == 2
    return found


@pytest.mark.parametrize("entrypoint", entrypoints(), ids=["rayjob", "kind"])
def test_entrypoints_are_commands_with_a_valid_config(entrypoint: str, monkeypatch: pytest.MonkeyPatch):
    python, module, gandist, *arguments = shlex.split(entrypoint)
    assert (python, module, gandist) == ("python", "-m", "gandist")
    params = parsed(arguments)
    assert params["address"] == "auto"
    # Where the image has it.
    config = ROOT / Path(params["config"]).relative_to("/opt/gandist")
    resolve(compose(config, [*params["overrides"], f"cluster.workers={params['workers']}"]))


def test_lines_that_somebody_must_change_are_marked():
    stands_for = re.compile(r"ami-0123|123456789012|image: &image|storageClassName|--workers \d|maxReplicas: [1-9]")
    for path in [*KUBERNETES, CLUSTER / "ray-up.yaml"]:
        lines = path.read_text(encoding="utf-8").splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            if stands_for.search(line):
                assert "# CHANGE" in line or "# CHANGE" in before, f"{path.name}: {line}"


def test_the_aws_cluster_is_one_that_ray_takes():
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    config = yaml.safe_load((CLUSTER / "ray-up.yaml").read_text(encoding="utf-8"))
    validate_config(fillout_defaults(config))
    with pytest.raises(jsonschema.ValidationError, match="head_node_typ"):
        validate_config({**config, "head_node_typ": "head"})
    assert config["available_node_types"][config["head_node_type"]]["resources"]["CPU"] == 0
    starts = [c for key in ("head_start_ray_commands", "worker_start_ray_commands") for c in config[key]]
    for command in starts:
        subprocess.run(["bash", "-n", "-c", command], check=True)
        assert "ray start" not in command or "RAY_AUTH_MODE=token" in command
    assert "--dashboard-host=127.0.0.1" in starts[1]


def installs(text: str) -> list[str]:
    """What follows `python -m pip install` in a file, one by one."""
    text = text.replace("\\\n", " ")
    found = re.findall(r"^(?!\s*#).*?python -m pip install (.+?)(?:$| && )", text, re.MULTILINE)
    return [" ".join(line.split()) for line in found]


def test_versions_are_installed_as_the_makefile_does_it():
    made = [line.replace("--editable ", "") for line in installs((ROOT / "Makefile").read_text(encoding="utf-8"))]
    assert len(made) >= 5
    image = installs((CLUSTER / "Dockerfile").read_text(encoding="utf-8").replace("    && ", " && \n"))
    assert len(image) == 3
    assert image == made[:3], "the same lines in the same order, without what only a checkout needs"
    aws = installs((CLUSTER / "ray-up.yaml").read_text(encoding="utf-8"))
    assert aws[:3] == image
    assert all(line.startswith("--quiet --constraint constraints.txt ") for line in aws)


def test_the_dockerfile_is_clean():
    linted = subprocess.run([tool("hadolint"), CLUSTER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
    text = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    (version,) = re.findall(r"^ARG PYTHON=3\.(\d+)$", text, re.MULTILINE)
    (least,) = re.findall(r">=3\.(\d+)", PROJECT["requires-python"])
    assert int(version) >= int(least)
    assert f"-t gandist:{PROJECT['version']} " in text


def test_what_docker_is_sent_makes_the_whole_wheel(tmp_path: Path):
    """A copy of what .dockerignore lets through builds a wheel with all that a checkout's has."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    for name in allowed:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, tmp_path / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "No module named hatchling" in built.stderr:
        pytest.skip("there is no hatchling; `make install` installs it")
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in [*(ROOT / "gandist").rglob("*.py"), *(ROOT / "plugins").glob("gandist_*/**/*.py")]:
        relative = path.relative_to(ROOT)
        assert str(relative.relative_to("plugins") if relative.parts[0] == "plugins" else relative) in names
    assert "configs" in allowed, "the image holds the configs"


def test_the_slurm_script_is_clean():
    subprocess.run(["bash", "-n", CLUSTER / "slurm.sh"], check=True)
    linted = subprocess.run([tool("shellcheck"), CLUSTER / "slurm.sh"], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


STUB = """#!/bin/bash
name=$(basename "$0")
printf '%s\\0' "$name" "$@" >> "$RECORD"
printf '\\n' >> "$RECORD"
case "$name $1" in
    "scontrol show") printf '%s\\n' node7 node8 ;;
    "srun --nodes=1")
        case "$*" in
            *hostname*) echo "10.1.2.3 172.17.0.1" ;;
            *ib0) echo "ib0  UP  10.9.2.3/16" ;;
        esac ;;
    srun*)
        printf 'RAY_AUTH_MODE=%s RAY_AUTH_TOKEN=%s\\n' "$RAY_AUTH_MODE" "$RAY_AUTH_TOKEN" >> "$RECORD.environment"
        exit "$ENDS_WITH" ;;
esac
"""


def sbatch(folder: Path, *arguments: str, ends_with: int = 0, **slurm: str) -> tuple[int, list[list[str]], str]:
    """Runs the script as Slurm would. Its exit code, the calls of Slurm's programs, and what it said."""
    stubs = folder / "bin"
    stubs.mkdir(exist_ok=True)
    for name in ("srun", "scontrol"):
        (stubs / name).write_text(STUB)
        (stubs / name).chmod(0o755)
    venv = folder / "venv" / "bin"
    venv.mkdir(parents=True, exist_ok=True)
    for name in ("gandist", "python"):
        (venv / name).unlink(missing_ok=True)
        (venv / name).symlink_to(sys.executable)
    record = folder / "record"
    environment = {
        "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
        "RECORD": str(record),
        "ENDS_WITH": str(ends_with),
        "VENV": str(folder / "venv"),
        "STORAGE": "/shared/my runs",
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "32",
        **slurm,
    }
    command = ["bash", str(CLUSTER / "slurm.sh"), *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)
    lines = record.read_text().split("\n") if record.exists() else []
    return ended.returncode, [line.split("\0")[:-1] for line in lines if line], ended.stderr


def test_the_slurm_script_starts_ray_everywhere_and_trains_once(tmp_path: Path):
    end = str(int(time.time()) + 3600 * 6)
    code, calls, said = sbatch(
        tmp_path, "configs/digits.yaml", "train.batch_size=128", SLURM_GPUS_ON_NODE="4", SLURM_JOB_END_TIME=end
    )
    assert code == 0, said
    show, address, run = calls
    assert show == ["scontrol", "show", "hostnames", "node[7-8]"]
    assert address[:4] == ["srun", "--nodes=1", "--ntasks=1", "--nodelist=node7"]
    split = run.index("ray")
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1"} <= set(run[1:split])
    symmetric, entry = run[split + 1 : run.index("--")], run[run.index("--") + 1 :]
    assert symmetric == [
        "symmetric-run", "--address", "10.1.2.3:24711", "--min-nodes", "2", "--num-cpus=32", "--num-gpus=4",
    ]  # fmt: skip
    # Ray reads its part as the installed version does.
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    assert curate_and_validate_ray_start_args(symmetric[1:]) == ["--num-cpus=32", "--num-gpus=4"]
    params = parsed(entry[3:])
    assert params["address"] == "10.1.2.3:24711"
    given = dict(override.split("=", 1) for override in params["overrides"])
    assert given["cluster.workers"] == "8"
    assert given["cluster.storage"] == "/shared/my runs"
    assert 5.7 < float(given["train.hours"]) < 5.8
    resolve(compose(ROOT / params["config"], params["overrides"]))
    there = (tmp_path / "record.environment").read_text()
    token = re.fullmatch(r"RAY_AUTH_MODE=token RAY_AUTH_TOKEN=([0-9a-f]{64})\n", there)
    assert token is not None
    assert token[1] not in "".join(word for call in calls for word in call), "no other user's `ps` may show it"


def test_the_slurm_script_on_cpus_without_a_limit(tmp_path: Path):
    code, calls, said = sbatch(tmp_path, "configs/digits.yaml", "cluster.workers=6")
    assert code == 0, said
    overrides = parsed(calls[-1][calls[-1].index("--") + 4 :])["overrides"]
    assert [o for o in overrides if o.startswith("cluster.workers")] == ["cluster.workers=2", "cluster.workers=6"]
    assert not any(o.startswith("train.hours") for o in overrides)
    assert "--num-gpus=0" in calls[-1]


def test_the_slurm_script_on_a_network_of_its_own(tmp_path: Path):
    code, calls, said = sbatch(tmp_path, "configs/digits.yaml", INTERFACE="ib0")
    assert code == 0, said
    params = parsed(calls[-1][calls[-1].index("--") + 4 :])
    assert params["address"] == "10.9.2.3:24711"
    assert "cluster.interface=ib0" in params["overrides"]


@pytest.mark.parametrize(("ends_with", "requeued"), [(0, False), (1, False), (2, False), (3, True)])
def test_a_slurm_job_that_left_with_a_checkpoint_is_queued_again(tmp_path: Path, ends_with: int, requeued: bool):
    code, calls, _ = sbatch(tmp_path, "configs/digits.yaml", ends_with=ends_with)
    assert code == ends_with
    assert (["scontrol", "requeue", "4711"] in calls) == requeued


def test_the_slurm_script_says_what_it_lacks(tmp_path: Path):
    code, calls, said = sbatch(tmp_path)
    assert (code, calls) == (2, [])
    assert "usage: sbatch" in said
    code, calls, said = sbatch(tmp_path, "configs/digits.yaml", VENV="/nowhere")
    assert (code, calls) == (2, [])
    assert "make install" in said


@cache
def readme() -> str:
    return (CLUSTER / "README.md").read_text(encoding="utf-8")


def test_the_readme_leads_to_every_file():
    for path in CLUSTER.rglob("*"):
        if path.is_file() and path.name != "README.md":
            assert path.name in readme() or str(path.parent.relative_to(ROOT)) in readme(), path.name

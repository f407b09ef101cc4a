"""Every key of a config: type, default, bounds, and what it does."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from gandist.config.evaluate import Evaluate
from gandist.config.section import Section
from gandist.config.start import Start
from gandist.config.storage import is_url, require_no_credentials
from gandist.contract.anneal import Anneal
from gandist.contract.components import Architecture, Augmentation, Dataset, Loss, Watcher
from gandist.contract.optimizing import Optimizer

FolderName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that folders may have on every file system."""


class Run(Section):
    """Which run this is."""

    name: FolderName
    """Name of the run and of its folder; the config file's stem by default."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Everything random in a run is a function of it."""


class Ema(Section):
    """Smoothed players: moving averages of their weights, which samples and scores are made with."""

    half_life: int = Field(default=20_000, ge=0)
    """Images after which a weight's influence has halved; 0 keeps no average."""
    ramp_up: float = Field(default=0.05, ge=0.0, le=1.0, allow_inf_nan=False)
    """The half-life is at most this share of the images seen (Karras et al. 2020, their code); 0 for no ramp."""
    anneal: Anneal | None = None
    """How the half-life changes with the images seen; null keeps it."""
    players: tuple[str, ...] = ("generator",)
    """Of which players an average is kept; a discriminator that classifies gains from it too."""


class Train(Section):
    """How long and how to train. What ends in `every` counts steps; `images` and `half_life` count images."""

    images: int = Field(default=150_000, ge=1)
    """Real images shown to the discriminator in the whole run."""
    batch_size: int = Field(default=64, ge=1)
    """Rows of the global batch, over all workers together."""
    micro_batch: int | None = Field(default=None, ge=1)
    """At most this many rows go through a worker at once; null puts its whole share through."""
    ema: Ema = Ema()
    """Smoothing of the players."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs the networks under autocast; weights, penalties' norms and optimizers stay fp32."""
    channels_last: bool = False
    """Keep images and convolutions with the channels innermost, which tensor cores run best on; the same function."""
    compile: bool = False
    """Compile the networks (torch.compile), but for turns that differentiate the discriminator's slope, where torch
    cannot; the same function to rounding. The first steps take minutes."""
    checkpoint_activations: bool = False
    """Compute the inner feature maps of the networks' blocks again in the backward pass instead of keeping them: the
    same bits from less memory, for a second forward pass."""
    sync_batchnorm: bool = False
    """Batch norm over the global batch instead of each worker's share."""
    deterministic: bool = False
    """Deterministic kernels on GPUs (CPU runs are deterministic anyway)."""
    log_every: int = Field(default=50, ge=1)
    """Steps between log lines."""
    sample_every: int = Field(default=500, ge=0)
    """Steps between sample grids; 0 means at the end only."""
    save_every: int = Field(default=1000, ge=0)
    """Steps between checkpoints; 0 means at the end only."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints kept."""
    hours: float | None = Field(default=None, gt=0)
    """Wall hours after which the run saves and leaves with exit code 3, counted from the command; null for no limit."""


def read_workers(value: Any) -> Any:
    """A number, or "MIN..MAX"."""
    if isinstance(value, str) and ".." in value:
        low, _, high = value.partition("..")
        if low.strip().isdigit() and high.strip().isdigit() and 1 <= int(low) <= int(high):
            return value.replace(" ", "")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isdigit():
        return int(value)
    raise ValueError(f"should be a number of workers (0 runs in this process) or MIN..MAX, not {value!r}")


def read_gpu(value: Any) -> Any:
    """auto, true or false; numbers are refused with the reason."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = f"; for {value} GPUs set cluster.workers={value}" if isinstance(value, int) and value > 1 else ""
        raise ValueError(
            f"should be 'auto' or true or false, is {value}: a worker drives one whole GPU, since NCCL refuses two "
            f"ranks on one, and a rank on two would train on the first only{whole}"
        )
    return value


class Cluster(Section):
    """Where the run goes. Nothing here changes what is computed."""

    workers: Annotated[int | str, BeforeValidator(read_workers)] = 1
    """Processes that train, one per GPU if there are any; 0 trains in this process; "1..8" lets Ray grow and shrink."""
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = 1
    """CPU threads per worker; auto: as many as the CPUs allow when the run begins, kept when it goes on."""
    gpu: Annotated[Literal["auto"] | bool, BeforeValidator(read_gpu)] = "auto"
    """Whether each worker takes a GPU; auto: where there are enough of them."""
    accelerator_type: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Train on GPUs of this type only, in Ray's words (A100, H100, L4, …); null for any. Of a joined cluster."""
    per_node: int | None = Field(default=None, ge=1)
    """Workers on a node at most; null for as many as fit. Of a joined cluster."""
    placement: Literal["PACK", "SPREAD"] = "PACK"
    """Workers on as few nodes as possible, or on as many. Of a joined cluster."""
    interface: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
    """Network interface through which the ranks exchange gradients, on every node; null lets NCCL and gloo choose."""
    wait: int = Field(default=60, ge=0)
    """Seconds that a joined cluster has to make room for the run: nodes that come up, other runs that end."""
    storage: str = Field(default="runs", min_length=1)
    """Folder that holds the run folders and that every node sees, or a URL of object storage (s3://, gs://, …)."""
    max_failures: int = Field(default=3, ge=-1)
    """Restarts after a lost worker before the run is given up; -1 for no limit."""
    resize_every: int = Field(default=60, ge=5)
    """Seconds between two looks for more nodes, where `workers` is a range."""
    timeout: int = Field(default=300, ge=10)
    """Seconds that a collective operation waits for the slowest worker."""
    storage_error: Literal["end", "wait"] = "end"
    """What happens when a checkpoint cannot be written: the run ends, or it tries again until the storage is back."""

    @field_validator("storage")
    @classmethod
    def _holds_no_credentials(cls, storage: str) -> str:
        if is_url(storage):
            require_no_credentials(storage)
        return storage

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.accelerator_type is not None and self.gpu is False:
            raise ValueError("cluster.accelerator_type asks for GPUs and cluster.gpu=false for none; drop one of them")
        return self

    @property
    def most_workers(self) -> int:
        """Upper end of `workers`."""
        return int(str(self.workers).split("..")[-1])

    @property
    def fewest_workers(self) -> int:
        """Lower end of `workers`."""
        return int(str(self.workers).split("..")[0])


DEFAULT_OPTIMIZER = "adam"


def fill_in(data: Any) -> Any:
    """The mapping of a whole config with the names that its sections leave out: an optimizer is Adam, a watcher is
    called as its key, and every installed watcher has a section."""
    if not isinstance(data, dict):
        return data
    data = dict(data)
    optimizers = data.get("optimizer")
    if isinstance(optimizers, dict):
        data["optimizer"] = {
            player: {"name": DEFAULT_OPTIMIZER, **given} if isinstance(given, dict) else given
            for player, given in optimizers.items()
        }
    watchers = data.get("tracking", {})
    if isinstance(watchers, dict):
        from gandist.contract.discovery import installed

        names = [watcher.name for watcher in installed().components(Watcher)]
        filled = {name: {} for name in names} | {key: {} if given is None else given for key, given in watchers.items()}
        data["tracking"] = {
            key: {"name": key, **given} if isinstance(given, dict) else given for key, given in filled.items()
        }
    return data


class Config(Section):
    """A whole run."""

    run: Run
    """Name and seed."""
    dataset: SerializeAsAny[Dataset]
    """Where samples come from."""
    architecture: SerializeAsAny[Architecture]
    """The players' networks."""
    loss: SerializeAsAny[Loss]
    """What the players minimise, and in which turns."""
    start: Start | None = None
    """Trained players that the run begins with; null begins with fresh ones."""
    augmentations: tuple[SerializeAsAny[Augmentation], ...] = ()
    """Changes of what the discriminator judges, in this order."""
    optimizer: dict[str, SerializeAsAny[Optimizer]] = Field(default_factory=dict)
    """Player → optimizer; Adam with its defaults for players not named."""
    train: Train = Train()
    """Length, batch, precision, intervals."""
    cluster: Cluster = Cluster()
    """Workers, threads, storage."""
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate())
    """Scores."""
    tracking: dict[str, SerializeAsAny[Watcher]] = Field(default_factory=dict)
    """Watcher → its settings; every installed watcher is there with its defaults."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        return fill_in(data)

    @model_validator(mode="after")
    def _every_player_has_an_optimizer(self) -> Self:
        missing = [role for role in self.loss.turns if role not in self.optimizer]
        if missing:
            from pydantic import TypeAdapter

            usual = TypeAdapter(Optimizer).validate_python({"name": DEFAULT_OPTIMIZER})
            # A frozen model's dict may still be filled in while it is being made.
            self.optimizer.update(dict.fromkeys(dict.fromkeys(missing), usual))
        return self

    @property
    def images_per_step(self) -> int:
        """Rows drawn in a step: as many fresh batches as the loss has discriminator turns, one if it has none."""
        return self.train.batch_size * sum(self.loss.fresh_batches)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return math.ceil(self.train.images / self.images_per_step)

"""Kinds of bad input, with what the message must say of each."""

from __future__ import annotations

from dataclasses import dataclass, field

GOOD = """\
dataset: {name: gaussians, count: 1000}
architecture: {name: mlp, width: 8}
loss: {name: non-saturating}
train: {images: 64, batch_size: 16}
cluster: {workers: 0}
"""
PICTURES = ["dataset={name: image-folder, root: pictures, size: 32}", "architecture={name: dcgan, width: 4}"]


@dataclass(frozen=True)
class Case:
    """files: name → text, written beside good.yaml. says: what the message must contain. place: its first words."""

    name: str
    arguments: list[str]
    says: list[str]
    files: dict[str, str | bytes] = field(default_factory=dict)
    images: int = 0


def key(name: str, override: str, *says: str) -> Case:
    return Case(name, ["good.yaml", override], [override.partition("=")[0], *says])


def text(name: str, content: str | bytes, *says: str) -> Case:
    return Case(name, ["bad.yaml"], ["bad.yaml", *says], {"bad.yaml": content})


CASES = [
    # Keys that nothing takes, at each level.
    Case(
        "unknown section",
        ["good.yaml", "trian.images=3"],
        ["  trian ", "unknown key; did you mean train?", "architecture, augmentations, cluster"],
    ),
    key("unknown key", "train.bach_size=3", "did you mean batch_size?", "train takes:", "command line"),
    key(
        "unknown nested key",
        "train.ema.halflife=3",
        "did you mean half_life?",
        "train.ema takes: anneal, half_life, players, ramp_up",
    ),
    key("unknown key of a component", "architecture.widht=3", "did you mean width?", "mlp takes:"),
    key(
        "unknown key of a regularizer", "loss.regularizers=[{name: r1, wieght: 3}]", "did you mean weight?", "r1 takes"
    ),
    key("unknown key of an optimizer", "optimizer.generator.betas2=3", "did you mean betas?", "adam takes:"),
    key("unknown key of a watcher", "tracking.wandb.projekt=x", "did you mean project?", "wandb takes:"),
    key("unknown key given back", "train.bach_size=null", "did you mean batch_size?"),
    # Names of components.
    key(
        "unknown data set", "dataset.name=gausians", "unknown dataset 'gausians'", "did you mean 'gaussians'?", "digits"
    ),
    key("unknown loss", "loss=wgangp", "unknown loss 'wgangp'; did you mean 'wgan-gp'?", "(gandist plugins)"),
    key(
        "unknown regularizer",
        "loss.regularizers=[r2d2]",
        "unknown regularizer 'r2d2'",
        "installed: auxiliary-classifier",
    ),
    key("unknown watcher", "tracking.wanbd={}", "unknown watcher 'wanbd'; did you mean 'wandb'?"),
    key("unknown metric", "evaluate={every: 1, metrics: [frechett]}", "evaluate", "did you mean 'frechet'?"),
    key(
        "optimizer of no player", "optimizer.genrator={lr: 1e-3}", "did you mean generator?", "discriminator, generator"
    ),
    # Values of the wrong type or out of range.
    key("text for a whole number", "train.images=many", "should be a whole number, is 'many'"),
    key("true for a whole number", "cluster.threads=true", "a whole number, is true"),
    key("quoted number", "train.images='5'", "should be a whole number, is '5'"),
    key("half a batch", "train.batch_size=2.5", "should be a whole number, is 2.5"),
    key("no for a switch", "train.sync_batchnorm=no", "should be true or false, is 'no'"),
    key("off for a switch or auto", "cluster.gpu=off", "should be 'auto' or true or false, is 'off'"),
    key("half a GPU", "cluster.gpu=0.5", "is 0.5", "one whole GPU", "NCCL refuses two ranks on one"),
    key("two GPUs a worker", "cluster.gpu=2", "one whole GPU", "set cluster.workers=2"),
    key("no number of threads", "cluster.threads=many", "'auto'", "is 'many'"),
    key("lower-case placement", "cluster.placement=spread", "'PACK', 'SPREAD'", "is 'spread'"),
    Case(
        "a type of no GPU",
        ["good.yaml", "cluster.accelerator_type=A100", "cluster.gpu=false"],
        ["cluster.accelerator_type asks for GPUs", "cluster.gpu=false"],
    ),
    key("one for a switch", "train.deterministic=1", "should be true or false, is 1"),
    key("too small", "train.images=0", "should be at least 1, is 0"),
    key("negative rate", "optimizer.generator.lr=-1e-4", "should be more than 0, is -0.0001"),
    key("not a number", "optimizer.generator.lr=.nan", "should be a finite number, is nan"),
    key("infinite", "loss.regularizers=[{name: r1, weight: .inf}]", "weight", "should be a finite number, is inf"),
    key("no choice", "train.precision=fp17", "'fp32', 'bf16'", "is 'fp17'"),
    key("a list for a section", "train=[1]", "should be a section of keys, is [1]"),
    key("one of two betas", "optimizer.generator.betas=[0.5]", "betas.1", "is required: a number"),
    key("workers in words", "cluster.workers=two", "MIN..MAX", "'two'"),
    key("name with a slash", "run.name=a/b", "is 'a/b'"),
    # Overrides.
    Case("no override", ["good.yaml", "train.images"], ["train.images: is no override", "KEY=VALUE"]),
    Case("no value", ["good.yaml", "train.images="], ["train.images=: has no value", "train.images=null"]),
    Case("broken value", ["good.yaml", "loss={name: r"], ["loss={name: r: cannot be read as YAML"]),
    Case(
        "beyond a list",
        ["good.yaml", "loss.regularizers.3.weight=1"],
        ["loss.regularizers is a list with no entries, not '3'"],
    ),
    Case("below a number", ["good.yaml", "train.images.n=1"], ["train.images is 64, which holds no n"]),
    # Files.
    Case("missing file", ["god.yaml"], ["god.yaml: no such file; did you mean good.yaml?"]),
    Case("missing folder", ["nowhere/a.yaml"], ["nowhere/a.yaml: no such file", "folder nowhere"]),
    Case("folder for a file", ["configs"], ["configs: is a folder", "inside.yaml"], {"configs/inside.yaml": GOOD}),
    text("empty", "", "is empty", "dataset, architecture and loss"),
    text("only comments", "# nothing\n", "is empty"),
    text("a list", "- a\n- b\n", "should be a mapping", "a list"),
    text("duplicate key", f"{GOOD}loss: {{name: minimax}}\n", "bad.yaml:6: duplicate key 'loss', first on line 3"),
    text("duplicate inner key", "train:\n  images: 1\n  images: 2\n", "bad.yaml:3: duplicate key 'images'"),
    text("broken YAML", "dataset: {name: gaussians\nloss: [", "cannot be read as YAML"),
    text("tabs", "train:\n\timages: 3\n", "bad.yaml:2: cannot be read as YAML", "\\t"),
    text("binary", b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "is not UTF-8 text", "name a YAML file"),
    text("code", 'x: !!python/object/apply:os.system ["touch pwned"]\n', "python/object/apply:os.system", "refused"),
    text(
        "aliases without end",
        "a: &a [x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)),
        "aliases",
    ),
    text("alias of itself", "a: &a [*a]\n", "alias stands inside its own anchor"),
    text("dots in a key", "train.images: 3\n", "train.images should be text without dots"),
    text("sections missing", "train: {images: 5}\n", "loss", "is required", "installed:", "non-saturating"),
    text("extends nothing", "extends: base/smal.yaml\n", "bad.yaml:1: extends base/smal.yaml: no such file"),
    text("extends a number", "extends: 5\n", "bad.yaml:1: extends should be a file or a list of files, is 5"),
    Case(
        "extends in a circle",
        ["a.yaml"],
        ["extends goes in a circle: a.yaml → b.yaml → a.yaml"],
        {"a.yaml": "extends: b.yaml\n", "b.yaml": "extends: a.yaml\n"},
    ),
    Case(
        "mistake in a base",
        ["top.yaml"],
        ["top.yaml: 1 problem", "train.imags", "did you mean images?", "(base.yaml:2)"],
        {"base.yaml": "train:\n  imags: 3\n", "top.yaml": f"extends: base.yaml\n{GOOD}"},
    ),
    # Data.
    Case("no such folder", ["good.yaml", *PICTURES], ["dataset", "pictures"]),
    Case(
        "more than there is memory",
        ["good.yaml", "architecture.width=1000000000000"],
        ["architecture", "mlp cannot be built"],
    ),
    Case("empty folder", ["good.yaml", *PICTURES], ["dataset", "pictures"], {"pictures/.keep": ""}),
    Case("one image", ["good.yaml", *PICTURES], ["dataset", "2"], images=1),
    Case("only broken images", ["good.yaml", *PICTURES], ["dataset", "a.png"], {"pictures/a.png": "x"}),
    Case("missing IDX files", ["good.yaml", "dataset={name: idx, root: nowhere}"], ["dataset", "nowhere"]),
    # Parts that do not fit each other.
    Case(
        "images for a points net",
        ["good.yaml", "dataset=digits"],
        ["architecture", "mlp", "28×28"],
    ),
    Case(
        "size mismatch",
        ["good.yaml", "dataset={name: digits, size: 28}", "architecture=dcgan"],
        ["architecture", "28×28", "dataset.size"],
    ),
    Case("unlabelled scores", ["good.yaml", "evaluate.every=2"], ["evaluate.metrics", "frechet", "points"]),
    Case(
        "fewer rows than workers",
        ["good.yaml", "train.batch_size=2", "--workers", "3"],
        ["train.batch_size", "2 rows do not feed 3 workers", "cluster.workers"],
    ),
    Case(
        "an empty micro-batch",
        ["good.yaml", "train.batch_size=3", "train.micro_batch=1", "--workers", "2"],
        ["train.micro_batch", "leaves one empty", "2 or more"],
    ),
    Case(
        "a regularizer twice",
        ["good.yaml", "loss.regularizers=[r1, {name: r1, every: 4}]"],
        ["loss.regularizers.1", "r1 stands there twice"],
    ),
    # The machine.
    Case(
        "too many workers",
        ["good.yaml", "train.batch_size=100000", "cluster.workers=100000", "cluster.gpu=false"],
        ["cluster.workers", "100000 workers do not fit", "--address"],
    ),
    Case("storage in a file", ["good.yaml", "cluster.storage=good.yaml/x"], ["cluster.storage", "cannot be written"]),
    Case("read-only storage", ["good.yaml", "cluster.storage=/proc/gandist"], ["cluster.storage", "/proc/gandist"]),
]

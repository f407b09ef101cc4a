"""What every component is: a frozen model whose fields are the YAML keys, asked for by name.

It holds no tensors: modules, memories and optimizers hold all state, so that a checkpoint is complete. Everything that
depends on chance or on the rank comes from the one argument of its methods, the turn.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from torch import Tensor, nn

from gandist.contract.facts import Facts

if TYPE_CHECKING:
    from gandist.contract.turn import Memory, Seen


_described: set[str] = set()
"""Kinds of which a JSON Schema is being made."""


class Component(BaseModel):
    """What every kind shares: a name, fields with bounds and defaults, and optional memory.

    A subclass with a `name` of its own is asked for by that name in YAML. Where a field's type is an abstract kind
    (`Regularizer`), a mapping with a `name` becomes the registered component of that name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: ClassVar[str]
    """The hook that provides such components, without its prefix: "losses", "architectures", …"""
    name: ClassVar[str]
    """How YAML asks for it."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names for the same component."""
    differentiates: ClassVar[bool] = False
    """Wants gradients with respect to turn.real or turn.fake: they become leaves before the shared forward."""
    per_sample_gradients: ClassVar[bool] = False
    """Uses each sample's own gradient of the discriminator, which batch norm there makes depend on the whole batch."""
    couples: ClassVar[bool] = False
    """Is not a mean over samples, and reaches the other ranks' rows through turn.everyone; excludes micro-batches."""
    skips_parameters: ClassVar[bool] = False
    """Some turns leave parameters of the acting player without a gradient."""
    uses_classes: ClassVar[bool] = False
    """Reads the class logits of the discriminator's verdict."""
    smooths: ClassVar[tuple[str, ...]] = ()
    """Players whose smoothed networks it asks, through turn.smoothed."""
    entries: ClassVar[Mapping[str, str]] = {}
    """Entries of the batch that it cannot do without, beside real: {"a": "set …, which gives them"}."""
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Attributes that players must have, {"generator": ("mapping",)}; checked when the players are built."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Said where the class is defined, so that a plugin writer reads it before anything runs.
        if "name" in inspect.get_annotations(cls) and "name" not in cls.__dict__:
            raise TypeError(f"{cls.__name__}.name is a class variable: write name: ClassVar[str] = '…'")

    @property
    def key(self) -> str:
        """What its memory is kept under: kind and name, never a position."""
        return f"{self.kind}/{self.name}"

    @classmethod
    def abstract(cls) -> bool:
        """Whether this is a kind (`Loss`) rather than a component that YAML can ask for."""
        return not isinstance(getattr(cls, "name", None), str)

    @classmethod
    def singular(cls) -> str:
        """The kind in a sentence: "a loss", "an optimizer"."""
        word = cls.__name__.lower()
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"

    @model_validator(mode="wrap")
    @classmethod
    def _by_name(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(value, cls) or not cls.abstract():
            if isinstance(value, Mapping) and value.get("name") in (getattr(cls, "name", None), *cls.aliases):
                value = {k: v for k, v in value.items() if k != "name"}
            return handler(value)
        from gandist.contract.discovery import installed

        found, fields = installed().choose(cls, value)
        return found.model_validate(fields, context=info.context)  # type: ignore[return-value]

    @model_serializer(mode="wrap")
    def _with_name(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"name": self.name, **handler(self)}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        if not cls.abstract():
            own = dict(handler.resolve_ref_schema(handler(core_schema)))
            own["properties"] = {"name": {"enum": [cls.name, *cls.aliases]}} | own.get("properties", {})
            # `name` is not required: a file that extends another may leave it to that one.
            return own
        from pydantic import TypeAdapter

        from gandist.contract.discovery import installed

        names = sorted(installed().by_name[cls.kind])
        if cls.kind in _described:
            # A component inside one of its own kind: its fields are described where the outer one's are.
            inner = {"type": "object", "properties": {"name": {"enum": names}}, "required": ["name"]}
            return {"anyOf": [{"enum": names, "description": "By its name alone, with defaults."}, inner]}
        _described.add(cls.kind)
        try:
            # Asked directly: the handler would leave out the name of a component that stands inline.
            found = installed().components(cls)
            described = [c.__get_pydantic_json_schema__(TypeAdapter(c).core_schema, handler) for c in found]
        finally:
            _described.discard(cls.kind)
        return {"anyOf": [{"enum": names, "description": "By its name alone, with defaults."}, *described]}

    def refuse(self, facts: Facts) -> str | None:
        """Why this component cannot work on such data ("makes 28×28 images, the data set has 32×32"), or None."""
        return None

    def memory(self, facts: Facts) -> dict[str, Tensor]:
        """Initial values of the buffers that this component keeps between turns; {} for none."""
        return {}

    def update(self, memory: Memory, seen: Seen) -> None:
        """Changes `memory` in place, once a turn after the optimizer step, without gradient, the same on all ranks."""

    def constrain(self, role: str, network: nn.Module) -> None:
        """Changes the weights of the player that has just moved, in place and without gradient (weight clipping)."""


def summary(component: type[Component]) -> str:
    """First line of its docstring."""
    return (inspect.getdoc(component) or "").split("\n", 1)[0]

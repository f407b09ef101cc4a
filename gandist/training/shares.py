"""Which rows of the global batch each rank, and each of its micro-batches, puts through."""

from __future__ import annotations

from dataclasses import dataclass

from gandist.contract.turn import Span


def split(span: Span, count: int, divisor: int = 1) -> list[Span]:
    """`count` runs of neighbouring rows, the larger ones first, each a multiple of `divisor` long."""
    units, spans, start = len(span) // divisor, [], span.start
    for part in range(count):
        size = (units // count + (part < units % count)) * divisor
        spans.append(Span(start, start + size, span.total))
        start += size
    return spans


@dataclass(frozen=True)
class Share:
    """One rank's rows of the global batch and the parts in which it plays them.

    Every rank has as many parts as the largest share needs, so that a part's number means the same everywhere.
    """

    rank: int
    span: Span
    parts: tuple[Span, ...]

    def weight(self, part: Span, world: int) -> float:
        """Factor of a mean over the part's rows, so that the mean over ranks of the sums over parts is the mean over
        the global batch."""
        return len(part) * world / part.total

    def number(self, part: int) -> int:
        """The part's number in the whole batch: R ranks and R micro-batches count alike."""
        return self.rank * len(self.parts) + part


def share(batch_size: int, rank: int, world: int, micro_batch: int | None = None, divisor: int = 1) -> Share:
    """The share of `rank` of `world` in a global batch."""
    spans = split(Span(0, batch_size, batch_size), world, divisor)
    own = spans[rank]
    count = -(-len(spans[0]) // micro_batch) if micro_batch else 1
    return Share(rank, own, tuple(split(own, count, divisor)))

"""The training loop: Algorithm 1 of Goodfellow et al. 2014, for any loss, any players and any number of ranks."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from gandist.config.schema import Config
from gandist.contract.components import Source
from gandist.contract.turn import Moment, Seen
from gandist.training.batches import Batches
from gandist.training.best import BestSoFar
from gandist.training.clock import CHECKPOINT, DATA, EVALUATION, LOGGING, OTHER, SAMPLES, Clock, due
from gandist.training.evaluations import Evaluations
from gandist.training.logs import log_line, terms_of
from gandist.training.players import divisor
from gandist.training.probes import Probes
from gandist.training.profile import Profile
from gandist.training.requests import Requests
from gandist.training.run import RunView
from gandist.training.scalars import Scalars
from gandist.training.shares import share
from gandist.training.showing import Showing
from gandist.training.state import State
from gandist.training.surroundings import Announce, Surroundings
from gandist.training.turns import Table, explained, require_gradients


@dataclass(frozen=True)
class Finished:
    """How a run ended: by itself, also where no better score was to come, or early because somebody asked for it."""

    step: int
    images: int
    seconds: float
    metrics: dict[str, float]
    evaluated: int
    """The step that `metrics` are of."""
    best: BestSoFar | None
    stopped: bool


def train(config: Config, source: Source, around: Surroundings) -> Finished:
    """Trains until `config.steps`, going on from the newest whole checkpoint in the run's folder.

    A step plays every turn of the loss once. Raises RunError if a value is not finite, memory runs out, a parameter
    gets no gradient, or the ranks disagree; the last whole checkpoint stays.
    """
    loss, batch_size, seed = config.loss, config.train.batch_size, config.run.seed
    state = State(config, source.facts, around)
    own = share(batch_size, around.rank, around.world, config.train.micro_batch, divisor(state.networks))
    batches = Batches(source, seed, own.span, config.dataset.loaders, around.device)
    table, scalars, fresh = Table(state, own, around), Scalars(around.device), loss.fresh_batches
    autocast = torch.autocast(around.device.type, torch.bfloat16, enabled=config.train.precision == "bf16")

    resumed_from = state.resume()
    progress = state.progress
    announce = around.watch(_view(state, source, around, resumed_from)) if around.rank == 0 else _silent
    probes, showing = Probes(state, around), Showing(state, source, around)
    evaluations = Evaluations(state, around)
    evaluations.prepare()
    announce("gandist_on_train_start")
    rows = batches.peek(0)
    table.rehearse(rows)
    requests, stop = Requests(around, config.cluster.timeout, state.exchange), False
    profile = Profile(around, config.steps, progress.step)
    clock, begin = Clock(state.players, profile.mark), time.perf_counter() - progress.seconds
    evaluations.begin(announce)

    while progress.step < config.steps and not stop and not state.exhausted:
        step, happens = progress.step, due(config, progress.step + 1)
        profile.at(step)
        requests.ask()
        for number, role in enumerate(loss.turns):
            if fresh[number]:
                around.post("waiting for data", step, state.images)
                clock.enter(DATA)
                rows = batches.take(step * sum(fresh) + sum(fresh[:number]))
                around.post("training", step, state.images)
            clock.enter(role)
            player, moment = state.act(role), Moment(seed, step, number, state.count(role, number), state.images)
            player.schedule(state.images)
            seen = []
            for part, span in enumerate(own.parts):
                turn = table.deal(role, rows, part, moment)
                last = part == len(own.parts) - 1
                with explained(turn, state), nullcontext() if last else player.unsynchronised():
                    with autocast:
                        objective, terms = player.move(turn, own.weight(span, around.world))
                    objective.backward()
                scalars.add(role, (step, number), terms_of(turn, terms, happens.log), len(span) / batch_size)
                seen.append(turn.seen)
            require_gradients(player)
            if happens.log or happens.save:
                # The same on all ranks, hence divided among them for the sum that the logs are.
                scalars.add(role, (step, number), {"gradient_norm": player.gradient_norm()}, 1 / around.world)
            player.step()
            if role in state.smoothing:
                state.smoothing[role].follow(
                    config.images_per_step / loss.turns.count(role), state.images + config.images_per_step
                )
            state.update_memories(role, Seen(role, seen, own.span))

        progress.step += 1
        progress.seconds = time.perf_counter() - begin
        clock.step()
        clock.enter(OTHER)
        around.post("training", progress.step, state.images)
        wanted = requests.answer()
        saves, stop = happens.save or bool(wanted - {"scored"}), "stop" in wanted and progress.step < config.steps
        if "scored" in wanted:
            saves |= evaluations.collect()
        if saves or happens.evaluate:
            scalars.check()
        if happens.evaluate and around.evaluator is not None:
            around.post("evaluating", progress.step, state.images)
            clock.enter(EVALUATION)
            saves |= evaluations.due()
        if count := probes.due(progress.step):
            clock.enter(SAMPLES)
            announce("gandist_on_probe", step=progress.step, images=probes.draw(count))
        if happens.log:
            clock.enter(LOGGING)
            line = log_line(state, scalars.reduce(), clock.read(config.images_per_step), around)
            announce("gandist_on_log", step=progress.step, scalars=line)
        if happens.sample and showing.possible:
            clock.enter(SAMPLES)
            announce("gandist_on_samples", step=progress.step, images=showing.picture())
        if saves:
            around.post("saving", progress.step, state.images)
            clock.enter(CHECKPOINT)
            state.save()
        clock.enter(OTHER)
        _announce_written(around, announce, evaluations)
        evaluations.look()

    profile.close()
    around.post("waiting for the checkpoint", progress.step, state.images)
    state.finish_saving()
    _announce_written(around, announce, evaluations)
    stop = stop or evaluations.finish()
    requests.close()
    batches.close()
    if around.rank == 0 and not stop and "generator" in state.networks:
        state.write_generator()
    announce("gandist_on_train_end", error=None)
    return Finished(
        progress.step, state.images, progress.seconds, progress.metrics, progress.evaluated, progress.best, stop
    )


def _silent(hook: str, **facts: object) -> None:
    """Watchers live on rank 0."""


def _view(state: State, source: Source, around: Surroundings, resumed_from: int | None) -> RunView:
    return RunView(
        id=state.progress.run_id,
        name=state.config.run.name,
        folder=around.folder,
        config=state.config,
        facts=state.facts,
        world_size=around.world,
        resumed_from=resumed_from,
        request=around.request,
        warn=around.warn,
        source=source,
        record=around.recorded.__setitem__,
        kept=dict(state.progress.kept),
        keep=state.progress.keep,
    )


def _announce_written(around: Surroundings, announce: Announce, evaluations: Evaluations) -> None:
    for step, path in around.writer.written():
        evaluations.written(step)
        announce("gandist_on_checkpoint", step=step, path=path)

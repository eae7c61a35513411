"""Recording within a trainer: callbacks for Lightning and for transformers.

The classes are made when they are asked for, since their bases come from libraries that not everybody has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import InputError

if TYPE_CHECKING:
    from .recorder import Recorder

LIGHTNING = ("lightning.pytorch", "pytorch_lightning")  # one library, by its new and its old name
SUMMARY = "train_runtime"  # is logged by transformers when training is over


class TrainerRecord:
    """Records a trainer's steps; what the trainer comes to know at a step that it has recorded joins that snapshot."""

    def __init__(self, recorder: Recorder, module: Callable[[Any], nn.Module] | None) -> None:
        self._recorder, self._module = recorder, module
        self.step: int | None = None
        self._scalars: dict[str, Any] = {}
        self._is_recorded = False

    def know(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Keep what is logged at a step for its snapshot."""
        if step != self.step:
            self.step, self._scalars, self._is_recorded = step, {}, False
        self._scalars.update(scalars)

    def record(self, model: Any, step: int, scalars: Mapping[str, Any], *, every_step: bool = False) -> None:
        """Record the model at a multiple of the recorder's ``every``, or at any step; again if there is a snapshot."""
        self.know(step, scalars)
        if every_step or self._is_recorded or step % self._recorder.every == 0:
            model = model if self._module is None else self._module(model)
            self._recorder.record(model, step, _numbers(self._scalars))
            self._is_recorded = True


def _numbers(scalars: Mapping[str, Any]) -> dict[str, float]:
    """Keep what is a number: trainers log texts and tensors too."""
    found = {}
    for name, value in scalars.items():
        if isinstance(value, str):
            continue
        try:
            found[name] = float(value)
        except (TypeError, ValueError, RuntimeError):
            continue
    return found


@cache
def _lightning_recorder() -> type:
    base: Any = _lightning().Callback

    class LightningRecorder(base):
        """Record a model that Lightning trains.

        A snapshot is taken before the first step, after each step (``trainer.global_step``) that is a multiple of the
        recorder's ``every``, and after each validation. The metrics that were logged since the last snapshot are
        recorded with it: a validation's at the step of that validation. Only the process of rank zero records; its
        model must hold whole parameters, as it does with DDP.

        Parameters
        ----------
        recorder : Recorder
            Of a graph that was traced from the LightningModule, or from a part of it.
        module : callable, optional
            From the LightningModule to what the graph was traced from, such as ``lambda m: m.net``.

        Raises
        ------
        InputError
            If neither ``lightning`` nor ``pytorch_lightning`` is installed.

        Examples
        --------
        >>> recorder = Recorder(dg.from_torch(model.net, images[:1]), "run", every=50)  # doctest: +SKIP
        >>> trainer = Trainer(callbacks=[LightningRecorder(recorder, lambda m: m.net)])  # doctest: +SKIP
        """

        def __init__(self, recorder: Recorder, module: Callable[[Any], nn.Module] | None = None) -> None:
            super().__init__()
            self._record = TrainerRecord(recorder, module)
            self._seen: dict[str, Any] = {}
            self._of_steps: set[str] = set()  # names of metrics that steps log,
            self._of_epochs: set[str] = set()  # and of those that come when an epoch ends

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero and trainer.global_step == 0:  # later, what a checkpoint holds was recorded
                self._record.record(pl_module, 0, {})

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.is_global_zero:
                fresh = self._fresh(trainer, self._of_epochs)  # those come again with the next epoch's first batch
                self._of_steps |= fresh.keys()
                if trainer.global_step == self._record.step:  # gradients are being accumulated: nothing has changed
                    self._record.know(trainer.global_step, fresh)
                else:
                    self._record.record(pl_module, trainer.global_step, fresh)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero and not trainer.sanity_checking and trainer.state.fn == "fit":
                fresh = self._fresh(trainer, self._of_epochs)
                self._record.record(pl_module, trainer.global_step, fresh, every_step=True)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero and (fresh := self._fresh(trainer, self._of_steps)):
                self._of_epochs |= fresh.keys()
                self._record.record(pl_module, trainer.global_step, fresh)

        def _fresh(self, trainer: Any, without: set[str]) -> dict[str, Any]:
            """Give the metrics that were logged since the last call: the trainer keeps the others as they were."""
            metrics = dict(trainer.callback_metrics)
            fresh = {name: value for name, value in metrics.items() if self._seen.get(name) is not value}
            self._seen = metrics  # keeps them alive, so that none has the place in memory of another
            return {name: value for name, value in fresh.items() if name not in without}

    return LightningRecorder


def _lightning() -> Any:
    """Import Lightning by the name that the program itself uses."""
    for name in sorted(LIGHTNING, key=lambda name: name not in sys.modules):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise InputError("LightningRecorder needs Lightning: pip install lightning")


@cache
def _transformers_recorder() -> type:
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise InputError("TransformersRecorder needs transformers: pip install 'transformers[torch]'") from None
    base: Any = TrainerCallback

    class TransformersRecorder(base):
        """Record a model that the Trainer of transformers trains.

        A snapshot is taken before the first step, after each step (``state.global_step``) that is a multiple of the
        recorder's ``every``, and after each evaluation. What is logged at a step is recorded with it. Only the world's
        process zero records; its model must hold whole parameters.

        Parameters
        ----------
        recorder : Recorder
            Of a graph that was traced from the model, or from a part of it.
        module : callable, optional
            From the model to what the graph was traced from, such as ``lambda m: m.classifier``.

        Raises
        ------
        InputError
            If ``transformers`` is not installed.

        Examples
        --------
        >>> trainer = Trainer(model, arguments, callbacks=[TransformersRecorder(recorder)])  # doctest: +SKIP
        """

        def __init__(self, recorder: Recorder, module: Callable[[Any], nn.Module] | None = None) -> None:
            super().__init__()
            self._record, self._training = TrainerRecord(recorder, module), False

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._training = True
            if state.is_world_process_zero and state.global_step == 0:  # later, what a checkpoint holds was recorded
                self._record.record(kwargs["model"], 0, {})

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                self._record.record(kwargs["model"], state.global_step, {})

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if SUMMARY in (kwargs.get("logs") or {}):
                self._training = False  # the model may now be an earlier one, the best
            if self._training and state.is_world_process_zero:
                self._record.record(kwargs["model"], state.global_step, _logged(state))

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self._training and state.is_world_process_zero:
                self._record.record(kwargs["model"], state.global_step, _logged(state), every_step=True)

    return TransformersRecorder


def _logged(state: Any) -> dict[str, Any]:
    """Give what the trainer has logged at its present step."""
    found: dict[str, Any] = {}
    for entry in state.log_history:
        if entry.get("step") == state.global_step:
            found |= entry
    found.pop("step", None)
    return found


_MADE = {"LightningRecorder": _lightning_recorder, "TransformersRecorder": _transformers_recorder}


def __getattr__(name: str) -> Any:
    """Make a callback's class; it is found again by its name, as pickling needs."""
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _MADE[name]()
    made.__qualname__ = name
    return made

"""Recording within trainers: Lightning and transformers train small models with the callbacks."""

import importlib
import pickle
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dnn2graph as dg
from dnn2graph.dynamics import Recorder, callbacks, read_run, recorded_steps

LIGHTNING = ["lightning.pytorch", "pytorch_lightning"]
IMAGES = 12  # in batches of 4: three steps an epoch


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def recorder_of(net, folder, **options):
    return Recorder(dg.from_torch(net, torch.zeros(1, 4)), folder, **options)


def scalars(folder):
    """Give what is recorded of the whole network: {step: {name: value}}."""
    table = read_run(folder)
    table = table[table["layer"].isna()]
    return {step: dict(zip(rows["measure"], rows["value"], strict=True)) for step, rows in table.groupby("step")}


def strengths(folder, step):
    table = read_run(folder, measures="strength")
    return table.loc[table["step"] == step, "value"].to_numpy()


# --- Lightning -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=LIGHTNING)
def lightning(request):
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed")


def lightning_module(package, net):
    class Classifier(package.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, index):
            loss = self.net(batch[0]).square().mean()
            self.log("train_loss", loss)
            self.log("of_epoch", float(self.current_epoch), on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", self.net(batch[0]).square().mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Classifier()


def fit(package, module, callback, folder, *others, validate=True, checkpoint=None, **options):
    images = DataLoader(TensorDataset(torch.rand(IMAGES, 4)), batch_size=4)
    trainer = package.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", default_root_dir=folder, callbacks=[callback, *others], **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few batches and workers
        trainer.fit(module, images, images if validate else None, ckpt_path=checkpoint)
    return trainer


def test_lightning_records_what_it_trains(tmp_path, lightning):
    module = lightning_module(lightning, network())
    recorder = recorder_of(module.net, tmp_path / "run", every=2)
    before = dg.strength(recorder.graph)
    fit(lightning, module, callbacks.LightningRecorder(recorder, lambda m: m.net), tmp_path, max_epochs=2)
    found = scalars(tmp_path / "run")
    # each second of 6 steps, and the validations after steps 3 and 6
    assert list(recorded_steps(tmp_path / "run")) == [0, 2, 3, 4, 6]
    each_epoch = ["of_epoch", "train_loss", "val_loss"]
    assert {step: sorted(names) for step, names in found.items()} == {
        2: ["train_loss"], 3: each_epoch, 4: ["train_loss"], 6: each_epoch
    }  # fmt: skip
    assert [found[step]["of_epoch"] for step in (3, 6)] == [0, 1]
    np.testing.assert_array_equal(strengths(tmp_path / "run", 0), before)
    np.testing.assert_array_equal(strengths(tmp_path / "run", 6), dg.strength(recorder.graph))
    assert not np.array_equal(strengths(tmp_path / "run", 4), strengths(tmp_path / "run", 6))


def test_lightning_records_the_module_itself_with_the_metrics_of_each_step(tmp_path, lightning):
    module = lightning_module(lightning, network())
    module.forward = module.net.forward
    losses = {}

    class Losses(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            losses[trainer.global_step] = outputs["loss"].item()

    recorder = recorder_of(module, tmp_path / "run")
    fit(lightning, module, callbacks.LightningRecorder(recorder), tmp_path, Losses(), validate=False, max_epochs=2)
    assert {step: names["train_loss"] for step, names in scalars(tmp_path / "run").items()} == losses
    assert list(losses) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(strengths(tmp_path / "run", 6), dg.strength(recorder.graph))


def test_lightning_records_a_step_once_where_gradients_are_accumulated(tmp_path, lightning, monkeypatch):
    module = lightning_module(lightning, network())
    recorder, recorded = recorder_of(module.net, tmp_path / "run"), []
    original = Recorder.record
    monkeypatch.setattr(
        Recorder, "record", lambda self, model, step, *rest: (recorded.append(step), original(self, model, step, *rest))
    )
    callback = callbacks.LightningRecorder(recorder, lambda m: m.net)
    fit(lightning, module, callback, tmp_path, validate=False, max_steps=2, accumulate_grad_batches=3)
    assert recorded == [0, 1, 1, 2, 2]  # again when an epoch ends, with what it logs


def test_lightning_goes_on_with_the_trainers_own_step(tmp_path, lightning):
    module = lightning_module(lightning, network())
    recorder = recorder_of(module.net, tmp_path / "run")
    callback = callbacks.LightningRecorder(recorder, lambda m: m.net)
    trainer = fit(lightning, module, callback, tmp_path, validate=False, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    third = strengths(tmp_path / "run", 3)

    again = lightning_module(lightning, network())
    callback = callbacks.LightningRecorder(recorder_of(again.net, tmp_path / "run"), lambda m: m.net)
    fit(lightning, again, callback, tmp_path, validate=False, max_epochs=2, checkpoint=tmp_path / "last.ckpt")
    assert recorded_steps(tmp_path / "run").tolist() == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(strengths(tmp_path / "run", 3), third)


def test_lightning_records_in_the_process_of_rank_zero_only(tmp_path):
    pytest.importorskip("lightning", reason="lightning is not installed")
    callback = callbacks.LightningRecorder(recorder_of(network(), tmp_path))
    trainer = SimpleNamespace(is_global_zero=False, global_step=0)
    for hook in ("on_train_start", "on_train_batch_end", "on_validation_end", "on_train_epoch_end"):
        getattr(callback, hook)(trainer, network())
    assert not list(tmp_path.glob("*.parquet"))


# --- transformers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def transformers():
    pytest.importorskip("accelerate", reason="accelerate, which the Trainer needs, is not installed")
    return pytest.importorskip("transformers", reason="transformers is not installed")


class Regression(nn.Module):
    """A model as the Trainer takes it."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, labels=None):
        scores = self.net(x)
        return {"loss": nn.functional.cross_entropy(scores, labels), "logits": scores}


def trainer_of(transformers, model, callback, folder, **options):
    generator = torch.Generator().manual_seed(0)
    data = [{"x": torch.rand(4, generator=generator), "labels": torch.tensor(i % 2)} for i in range(IMAGES)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=4, report_to=[], use_cpu=True,
        disable_tqdm=True, learning_rate=0.1, **options,
    )  # fmt: skip
    return transformers.Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data,
                                callbacks=[callback])  # fmt: skip


def test_transformers_records_what_it_trains(tmp_path, transformers):
    model = Regression()
    recorder = recorder_of(model.net, tmp_path / "run", every=2)
    before = dg.strength(recorder.graph)
    callback = callbacks.TransformersRecorder(recorder, module=lambda m: m.net)
    trainer = trainer_of(transformers, model, callback, tmp_path, num_train_epochs=2, logging_steps=2,
                         eval_strategy="epoch", save_strategy="no")  # fmt: skip
    trainer.train()
    assert recorded_steps(tmp_path / "run").tolist() == [0, 2, 3, 4, 6]
    logged = {}
    for entry in trainer.state.log_history[:-1]:  # the last one sums the training up
        logged.setdefault(entry["step"], {}).update(entry)
    found = scalars(tmp_path / "run")
    assert sorted(found) == [2, 3, 4, 6]
    for step, names in found.items():
        assert names == {name: value for name, value in logged[step].items() if name != "step"}
    assert {"loss", "eval_loss"} <= found[6].keys()
    np.testing.assert_array_equal(strengths(tmp_path / "run", 0), before)
    np.testing.assert_array_equal(strengths(tmp_path / "run", 6), dg.strength(recorder.graph))


def test_the_best_model_that_transformers_loads_at_the_end_is_not_recorded_as_the_last(tmp_path, transformers):
    model = Regression()
    recorder = recorder_of(model.net, tmp_path / "run")
    callback = callbacks.TransformersRecorder(recorder, lambda m: m.net)
    trainer = trainer_of(transformers, model, callback, tmp_path, max_steps=4, eval_strategy="steps", eval_steps=1,
                         save_strategy="steps", save_steps=1, load_best_model_at_end=True,
                         metric_for_best_model="eval_loss", greater_is_better=True)  # fmt: skip
    trainer.train()
    trainer.evaluate()
    best = int(trainer.state.best_model_checkpoint.rsplit("-", 1)[1])
    assert best < 4
    np.testing.assert_array_equal(dg.strength(recorder.graph), strengths(tmp_path / "run", best))
    assert not np.array_equal(strengths(tmp_path / "run", 4), strengths(tmp_path / "run", best))


def test_transformers_goes_on_with_the_trainers_own_step(tmp_path, transformers):
    def train(until, **options):
        model = Regression()
        callback = callbacks.TransformersRecorder(recorder_of(model.net, tmp_path / "run"), lambda m: m.net)
        trainer = trainer_of(transformers, model, callback, tmp_path, max_steps=until, save_strategy="steps",
                             save_steps=2, logging_strategy="no", lr_scheduler_type="constant")  # fmt: skip
        trainer.train(**options)

    train(2)
    second = strengths(tmp_path / "run", 2)
    train(4, resume_from_checkpoint=True)
    assert recorded_steps(tmp_path / "run").tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(strengths(tmp_path / "run", 2), second)


def test_transformers_records_in_the_process_of_rank_zero_only(tmp_path, transformers):
    callback = callbacks.TransformersRecorder(recorder_of(network(), tmp_path))
    state = SimpleNamespace(is_world_process_zero=False, global_step=0, log_history=[])
    for hook in ("on_train_begin", "on_step_end", "on_log", "on_evaluate"):
        getattr(callback, hook)(None, state, None, model=network(), logs={})
    assert not list(tmp_path.glob("*.parquet"))


# --- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "library"), [("LightningRecorder", "lightning"),
                                               ("TransformersRecorder", "transformers")])  # fmt: skip
def test_callbacks_are_pickled_with_their_recorder(tmp_path, name, library):
    pytest.importorskip(library, reason=f"{library} is not installed")
    made = getattr(importlib.import_module("dnn2graph.dynamics"), name)
    assert made is getattr(callbacks, name)
    again = pickle.loads(pickle.dumps(made(recorder_of(network(), tmp_path))))
    assert type(again) is made


def test_without_the_libraries_the_error_says_what_to_install(monkeypatch):
    for name in (*LIGHTNING, "lightning", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(callbacks, "_MADE", {name: made.__wrapped__ for name, made in callbacks._MADE.items()})
    with pytest.raises(dg.InputError, match="pip install lightning"):
        _ = callbacks.LightningRecorder
    with pytest.raises(dg.InputError, match="pip install 'transformers"):
        _ = callbacks.TransformersRecorder
    with pytest.raises(AttributeError, match="KerasRecorder"):
        _ = callbacks.KerasRecorder

"""Data modules of newer published software, and the selectors that share their samples out."""

import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")
pytest.importorskip("cuvis_ai_schemas.training.data")

from cuvis_ai_schemas.training.data import DataConfig, DataSplitConfig, SampleRef, Selector

from cuvis_ai_core.data.datamodule import BaseCuvisAIDataModule, create_data_module
from cuvis_ai_core.data.selectors import SplitConstraintError, norm_source, resolve_selectors
from cuvis_ai_core.data.splits_io import load_splits, save_splits, split_config, universe_hash
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.registry import NodeRegistry

PROMISES = pytest.mark.skipif(
    "constraints" not in DataSplitConfig.model_fields, reason="these schemas know no promises of splits"
)

ALL = [{"kind": "all"}]


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return the package of data modules, as if it were installed, and go to a folder of six frames, two marked."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "projects" / "published_loader")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "belt" / "masks").mkdir(parents=True)
    for number in range(6):
        np.save(f"belt/f{number}.npy", np.full((3, 4, 2), number, np.float32))
        Image.fromarray(np.full((3, 4), number in {1, 4}, np.uint8)).save(f"belt/masks/f{number}.png")
    yield import_module("belt_loader")
    del sys.modules["belt_loader"]


def stems(module: Any, part: str) -> list[str]:
    """Return which files a part of the data is."""
    module.setup()
    dataset = getattr(module, f"{part}_ds")
    return [] if dataset is None else [dataset[number]["stem"] for number in range(len(dataset))]


def test_loaders_are_as_the_module_was_asked_for(loader: Any) -> None:
    """Batches of a size, read by so many processes; only those to train on come in another order each time."""
    module = loader.BeltModule(folder="belt", splits={"train": ALL, "val": ALL}, batch_size=4, num_workers=2)
    module.setup()
    train, val = module.train_dataloader(), module.val_dataloader()
    assert [(each.batch_size, each.num_workers, len(each)) for each in (train, val)] == [(4, 2, 2)] * 2
    assert [type(each.sampler).__name__ for each in (train, val)] == ["RandomSampler", "SequentialSampler"]
    assert module.test_dataloader() == []


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"kind": "all"}, "012345"),
        ({"kind": "files", "paths": ["belt\\f3.npy", "./belt/f0.npy"]}, "03"),
        ({"kind": "dir_indices", "ids": ["0-4:2", 5]}, "0245"),
        ({"kind": "stems", "stems": ["f2", "f1"]}, "12"),
        ({"kind": "glob", "pattern": "f[12].npy"}, "12"),
        ({"kind": "glob", "pattern": "belt/*5*"}, "5"),
        ({"kind": "tag", "any_of": ["anomalous"]}, "14"),
        ({"kind": "categories", "any_of": ["stone"]}, "14"),
        (
            {"kind": "union", "of": [{"kind": "stems", "stems": ["f0"]}, {"kind": "tag", "any_of": ["anomalous"]}]},
            "014",
        ),
        ({"kind": "except", "of": [*ALL, {"kind": "tag", "any_of": ["anomalous"]}]}, "0235"),
        ({"kind": "except", "of": [{"kind": "stems", "stems": ["f0"]}, {"kind": "files", "paths": ["gone"]}]}, "0"),
        (
            {"kind": "intersect", "of": [{"kind": "dir_indices", "ids": ["0-1"]}, {"kind": "glob", "pattern": "*1*"}]},
            "1",
        ),
    ],
)
def test_selectors_pick_samples_in_the_order_of_the_data(loader: Any, selector: Any, expected: str) -> None:
    """By file, number, stem, pattern, tag and category, and by what sets of these have in common."""
    module = loader.BeltModule(folder="belt", splits={"train": [selector]})
    assert stems(module, "train") == [f"f{number}" for number in expected]
    assert len(module.predict_ds) == 6


def test_measurements_of_one_file(loader: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Are picked by their numbers in it; one that is not there beside others is said."""
    selector = {"kind": "file_indices", "source": "belt/f2.npy", "ids": [0, "2-3"]}
    module = loader.BeltModule(folder="belt", several=True, splits={"test": [selector]})
    module.setup("test")
    assert [(ref.stem, ref.index) for ref in module.test_ds.refs] == [("f2", 0), ("f2", 2)]
    assert "splits.test[0] names what is not there, and goes without it: 3" in caplog.text


def test_published_programs_ask_for_the_samples_themselves() -> None:
    """Those of the first selector come first, each once; one that means none is an error."""
    refs = [SampleRef(source=file, index=at, uid=f"{file}{at}", stem=file) for file in "ba" for at in range(3)]
    chosen = [{"kind": "file_indices", "source": "a", "ids": [2]}, {"kind": "all"}]
    found = resolve_selectors(DataSplitConfig.model_validate({"train": chosen}).train, refs)
    assert [each.uid for each in found] == ["a2", "b0", "b1", "b2", "a0", "a1"]
    (marked,) = DataSplitConfig.model_validate({"train": [{"kind": "categories", "any_of": ["stone"]}]}).train
    for names, problem in (({"stone": 4}, "matched 0 samples of 6"), ({"ston": 4}, "no category 'stone'")):
        with pytest.raises(ValueError, match=problem):
            resolve_selectors([marked], refs, name_to_id=names)


def test_stages_have_their_batches(loader: Any) -> None:
    """Those of a part that is set up; of a part without samples none; before that it is an error."""
    splits = {"train": [{"kind": "dir_indices", "ids": ["0-2"]}], "val": [{"kind": "stems", "stems": ["f4"]}]}
    module = loader.BeltModule(folder="belt", splits=splits, batch_size=2, samples_per_frame=2)
    with pytest.raises(RuntimeError, match="no batches for 'train' yet"):
        module.train_dataloader()
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert sorted(int(cube.max()) for batch in batches for cube in batch["cube"]) == [0, 0, 1, 1, 2, 2]
    (validated,) = module.val_dataloader()
    assert (validated["cube"].shape, int(validated["mask"].min()), validated["stem"]) == ((1, 3, 4, 2), 1, ["f4"])
    module.setup("test")
    assert list(module.test_dataloader()) == []
    with pytest.raises(RuntimeError, match="no batches for 'predict' yet"):
        module.predict_dataloader()


def test_without_splits_there_is_nothing_to_train_on(loader: Any) -> None:
    """But all to predict on; a module that shares its samples out itself needs none."""
    module = loader.BeltModule(folder="belt")
    with pytest.raises(TrainRunError, match="shares nothing out itself, and no splits say what is for 'fit'"):
        module.setup("fit")
    module.setup("predict")
    assert len(module.predict_ds) == 6
    own = loader.Sharing(folder="belt")
    assert [stems(own, part) for part in ("train", "val", "test")] == [["f0", "f1"], ["f2"], ["f3", "f4", "f5"]]


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        (
            {"train": [{"kind": "stems", "stems": ["f9"]}]},
            r"splits.train\[0\] \(kind stems, stems \['f9'\]\) matched 0",
        ),
        ({"train": [{"kind": "categories", "any_of": ["stones"]}]}, "no category 'stones'. Did you mean 'stone'"),
        ({"train": [{"kind": "some"}]}, "splits: train.0.kind: Input should be"),
        ({"splits_path": "gone.json"}, "Splits file gone.json: it cannot be read"),
        pytest.param(
            {"train": ALL, "val": ALL, "constraints": [{"kind": "no_split_overlap"}]},
            "in 'train' and in 'val': belt/f0.npy",
            marks=PROMISES,
        ),
        pytest.param(
            {"train": ALL, "constraints": [{"kind": "no_train_anomalous"}]},
            "of 'train' are anomalous: belt/f1.npy",
            marks=PROMISES,
        ),
        ({"train": [{"kind": "dir_indices", "ids": [0]}], "universe_hash": "0"}, "they count files"),
    ],
)
def test_splits_that_cannot_be_kept_are_refused(loader: Any, splits: Any, problem: str) -> None:
    """Each by what is wrong with it."""
    with pytest.raises(TrainRunError, match=problem):
        loader.BeltModule(folder="belt", splits=splits).setup("fit")


@PROMISES
def test_promises_may_be_warnings(loader: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As the splits say; files in two parts count where they are promised not to."""
    parts = {"train": [{"kind": "file_indices", "source": "belt/f1.npy", "ids": [0]}]}
    parts |= {"test": [{"kind": "file_indices", "source": "belt/f1.npy", "ids": [1]}]}
    kinds = ("no_split_overlap", "no_source_overlap", "no_train_anomalous")
    promises = [{"kind": kind, "severity": "warn"} for kind in kinds]
    loader.BeltModule(folder="belt", several=True, splits={**parts, "constraints": promises}).setup("fit")
    assert "no_source_overlap violated: these are in 'train' and in 'test': belt/f1.npy" in caplog.text
    assert "no_train_anomalous violated: these of 'train' are anomalous" in caplog.text
    assert "no_split_overlap" not in caplog.text


class Listed(BaseCuvisAIDataModule):
    """Samples of two categories in one file, which the tags tell nothing of, and which are in groups of their own."""

    supported = frozenset({"category_ids"})

    def supported_attrs(self) -> frozenset[str]:
        """Return what a test says."""
        return self.supported

    def enumerate(self, required_attrs: frozenset[str] = frozenset()) -> list[Any]:
        """Return two samples."""
        ids = [[0], [0, 1]] if "category_ids" in required_attrs else [[], []]
        return [SampleRef(source="a", index=at, group=f"g{at}", category_ids=ids[at]) for at in (0, 1)]

    def build_dataset_from_refs(self, refs: list[Any]) -> Any:
        """Return their names."""
        return [each.uid for each in refs]


def of_file(*ids: int) -> list[dict[str, Any]]:
    """Return the selectors of some of these samples."""
    return [{"kind": "file_indices", "source": "a", "ids": list(ids)}]


@PROMISES
@pytest.mark.parametrize("base", [TrainRunError, RuntimeError])
@pytest.mark.parametrize(
    ("kind", "train", "supported", "problem"),
    [
        ("no_split_overlap", [0, 1], set(), "no_split_overlap violated"),
        ("no_source_overlap", [0], set(), "no_source_overlap violated: these are in 'train' and in 'test': a"),
        ("no_train_anomalous", [0, 1], {"category_ids"}, "no_train_anomalous violated: these of 'train' .*: a#1"),
        ("no_train_anomalous", [0], {"tags"}, "no_train_anomalous unavailable: the data do not say"),
    ],
)
def test_promises_are_about_files_and_categories(
    kind: str, train: list[int], supported: set[str], problem: str, base: type[Exception]
) -> None:
    """A promise that cannot be checked is not kept; background is not anomalous."""
    promised = {"test": of_file(1), "constraints": [{"kind": kind, "severity": "error"}]}
    module = Listed(splits={"train": of_file(*train), **promised})
    module.supported = frozenset(supported)
    with pytest.raises(SplitConstraintError, match=problem) as caught:
        module.setup("fit")
    assert isinstance(caught.value, base)
    if kind == "no_train_anomalous":
        module = Listed(splits={"train": of_file(0), **promised})
        module.setup("fit")
        assert module.train_ds == ["a#0"]


def test_parts_selected_beside_a_file_of_splits_go_before_its_own(tmp_path: Path) -> None:
    """The others are those of the file."""
    file = tmp_path / "splits.json"
    save_splits(split_config({"train": of_file(0), "val": of_file(1)}), file)
    module = Listed(splits={"splits_path": str(file), "train": of_file(1), "predict": of_file(0)})
    module.setup()
    assert (module.train_ds, module.val_ds, module.predict_ds) == (["a#1"], ["a#1"], ["a#0"])


@pytest.mark.parametrize("times", [0, -1, "0"])
def test_a_sample_is_trained_on_once_at_least(times: Any) -> None:
    """Less is an error as the module is made."""
    with pytest.raises(ValueError, match=f"Listed: samples_per_frame is {times}, and must be 1 or more"):
        Listed(samples_per_frame=times)


def test_published_loaders_find_the_dataset_that_is_repeated() -> None:
    """Under the name that they look for."""
    module = Listed(splits={"train": of_file(0, 1)}, samples_per_frame=3)
    module.setup("fit")
    repeated = module.train_dataloader().dataset
    assert repeated._base is module.train_ds
    assert [repeated[at] for at in range(len(repeated))] == ["a#0", "a#1"] * 3


class Known:
    """What has data modules by their names, as published registries."""

    def __init__(self, **modules: type) -> None:
        self.data_modules = modules


def test_data_modules_are_made_by_name_of_what_a_registry_has(loader: Any) -> None:
    """Of a data section; the class checks its parameters first, and what it raises comes through."""
    registry = Known(belt=loader.BeltModule)
    section = {"data_module": "belt", "splits": {"train": ALL}, "batch_size": 4}
    module = create_data_module(registry, DataConfig(**section, params={"folder": "belt", "samples_per_frame": 2}))
    module.setup("fit")
    assert (len(module.train_ds), module.batch_size, module.samples_per_frame) == (6, 4, 2)
    with pytest.raises(ValueError, match="there is no folder gone"):
        create_data_module(registry, data_config=DataConfig(**section, params={"folder": "gone"}))
    with pytest.raises(TypeError, match="colour"):
        create_data_module(registry, DataConfig(**section, params={"folder": "belt", "colour": 1}))
    with pytest.raises(TrainRunError, match=r"provides the data module 'bolt'\. Did you mean 'belt'"):
        create_data_module(registry, DataConfig(data_module="bolt"))
    with pytest.raises(TrainRunError, match=r"'belt'.\nData modules: none"):
        create_data_module(NodeRegistry(), DataConfig(data_module="belt"))


@PROMISES
@pytest.mark.parametrize(("check", "promised"), [("error", ["error"]), ("warn", ["warn"]), ("off", []), (False, [])])
def test_leakage_checks_of_older_schemas_are_promises(check: Any, promised: list[str]) -> None:
    """That no sample is in two parts; another word is an error."""
    found = split_config({"train": ALL, "leakage_check": check}).constraints
    assert [(each.kind.value, each.severity.value) for each in found] == [
        ("no_split_overlap", each) for each in promised
    ]
    with pytest.raises(TrainRunError, match="'error' or 'warn'"):
        split_config({"train": ALL, "leakage_check": "loud"})


def test_splits_are_written_and_read(loader: Any, tmp_path: Path) -> None:
    """To a file that a module may be given instead; the hash of the data is of their names in their order."""
    splits = split_config({"train": [{"kind": "dir_indices", "ids": ["0-1"]}], "test": ALL})
    samples = loader.BeltModule(folder="belt").enumerate()
    expected = sha256("".join(f"belt/f{number}.npy\n" for number in range(6)).encode()).hexdigest()
    assert universe_hash(samples) == expected
    for made in (splits, splits.model_copy(update={"universe_hash": expected})):
        save_splits(made, tmp_path / "made" / "once" / "splits.json")
    place = "made/once/splits.json"
    assert load_splits(place).train == splits.train
    assert load_splits(place).universe_hash == expected
    for given in (place, {"splits_path": place}):
        module = loader.BeltModule(folder="belt", splits=given)
        assert (stems(module, "train"), len(module.test_ds)) == (["f0", "f1"], 6)


@pytest.mark.parametrize(
    ("content", "why"), [("[" * 100_000, "recursion"), ('{"train": 5}', "train"), (None, "a pipe, no file")]
)
def test_a_file_of_splits_is_data(tmp_path: Path, pipe: Callable[[Path], None], content: str | None, why: str) -> None:
    """Neither its depth nor a pipe in its place is more than an error."""
    file = tmp_path / "splits.json"
    if content is None:
        pipe(file)
    else:
        file.write_text(content)
    with pytest.raises(TrainRunError, match=f"Splits file.*{why}"):
        load_splits(file)


def test_two_spellings_of_one_file_are_the_same() -> None:
    """In separators, in folders that lead back, and with a drive or a server of Windows in case."""
    assert norm_source("C:\\Data\\a.cu3s") == norm_source("c:/data/x/..//A.cu3s") == "c:/data/a.cu3s"
    assert norm_source("./Data/x/../a.cu3s") == norm_source("Data\\a.cu3s") == "Data/a.cu3s"
    assert norm_source("\\\\Host\\share") == norm_source("//host/Share/") == "//host/share"
    there = [SampleRef(source="C:/Data/F1.npy"), SampleRef(source="Data/F2.npy")]
    for pattern, meant in (
        ("*/F*.npy", there),
        ("f1.npy", there[:1]),
        ("c:\\data\\*", there[:1]),
        ("Data/*", there[1:]),
    ):
        assert resolve_selectors([Selector(kind="glob", pattern=pattern)], there) == meant


def test_arguments_of_a_class_of_its_own_are_kept() -> None:
    """Which the base class does not know."""
    from cuvis_ai_core.data.datamodule import BaseCuvisAIDataModule

    assert BaseCuvisAIDataModule(batch_size=2, threads=3).params == {"threads": 3}

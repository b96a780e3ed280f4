"""The threaded loader at its edges: odd indices, empty batches, states after errors, forks at bad moments."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset
from torchvision import tv_tensors

from datasets.base.fields import Field
from datasets.memmap.memmap_converter import MemmapConverter
from datasets.memmap.memmap_reader import MemmapReader
from datasets.pyarrow_ipc.pyarrow_ipc_converter import IpcConverter
from datasets.pyarrow_ipc.pyarrow_ipc_reader import IpcReader
from utils import crew
from utils.loader import ThreadedLoader
from utils.samplers import GlobalSampler
from utils.transforms import EvalTransform, TrainTransform

COUNT = 20


def samples(name="image", channels=(3,)):
    rng = np.random.default_rng(0)
    return [{name: rng.integers(0, 256, (12, 10, *channels), np.uint8), "label": n} for n in range(COUNT)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    root = tmp_path_factory.mktemp("edges") / "raw"
    pairs = [tuple(sample.values()) for sample in samples()]
    MemmapConverter(pairs, root, images_per_file=7, num_workers=0, shape=None).convert()
    return root


@pytest.fixture
def raw(path):
    return MemmapReader(path, output="tensor")


def within(seconds, function):
    """What a function returns; a function that hangs fails instead of blocking all tests."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found
    return found[0]


# --- indices ------------------------------------------------------------------------------


@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("indices", [[0.0, 1.0, 2.0], [True, False, True], ["a", "b"]])
def test_what_is_no_whole_number_is_no_index_of_a_reader(raw, indices, subset):
    dataset = Subset(raw, range(3)) if subset else raw
    with pytest.raises(TypeError, match="whole numbers"):
        list(ThreadedLoader(dataset, 4, sampler=indices, num_threads=0))


@pytest.mark.parametrize("indices", [[True, False, True], [0.5, 2.7], torch.tensor([True, False])])
def test_what_is_no_whole_number_is_no_index_of_a_subset(raw, indices):
    with pytest.raises(TypeError, match="whole numbers"):
        ThreadedLoader(Subset(raw, indices), 4)


def test_indices_of_any_integer_type_are_taken(raw):
    wanted = raw.targets[[3, 19, 0, 19]].tolist()
    for indices in (
        [3, -1, 0, 19],
        np.array([3, -1, 0, 19], np.int8),
        [np.int64(3), np.int8(-1), 0, 19],
        torch.tensor([3, -1, 0, 19]),
        list(torch.tensor([3, -1, 0, 19])),
    ):
        for dataset, sampler in ((raw, indices), (Subset(raw, indices), None), (Subset(raw, range(COUNT)), indices)):
            [(_, labels)] = ThreadedLoader(dataset, 4, sampler=sampler, num_threads=0)
            assert labels.tolist() == wanted


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("transform", [None, TrainTransform(4)])
def test_an_empty_batch_is_a_batch(raw, num_threads, transform):
    loader = ThreadedLoader(raw, batch_sampler=[[0, 1], [], [2]], num_threads=num_threads, transform=transform)
    assert [labels.tolist() for _, labels in within(30, lambda: list(loader))] == [[0, 1], [], [2]]


# --- states -------------------------------------------------------------------------------


class Stops:
    """Raises once for sample 9."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        if index == 9 and self.error:
            error, self.error = self.error, None
            raise error
        return index


@pytest.mark.parametrize("error", [KeyError("lost"), KeyboardInterrupt()])
@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_state_after_an_error_goes_on_at_the_batch_that_failed(error, num_threads):
    loader = ThreadedLoader(Stops(error), 4, num_threads=num_threads)
    taken = []
    with pytest.raises(type(error)):
        taken += (batch.tolist() for batch in loader)
    state = loader.state_dict()
    assert (state["epoch"], state["batches"]) == (0, 2)
    loader.load_state_dict(state)
    assert [batch.tolist() for batch in loader] == [[8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19]]


def test_a_state_after_close_is_of_the_epoch_that_was_left(raw):
    loader = ThreadedLoader(raw, 4)
    iterator = iter(loader)
    next(iterator)
    iterator.close()
    state = loader.state_dict()
    assert (state["epoch"], state["batches"]) == (0, 1)


@pytest.mark.parametrize("sampled", [False, True])
def test_set_epoch_of_the_epoch_that_was_loaded_keeps_the_place(raw, sampled):
    def loader():
        sampler = GlobalSampler(raw, seed=1, rank=0, num_replicas=1) if sampled else None
        return ThreadedLoader(raw, 4, shuffle=not sampled, sampler=sampler, seed=1, num_threads=0)

    first = loader()
    first.set_epoch(2)
    iterator = iter(first)
    seen = [next(iterator)[1].tolist() for _ in range(2)]
    again = loader()
    again.load_state_dict(first.state_dict())
    again.set_epoch(2)
    rest = [labels.tolist() for _, labels in again]
    assert len(rest) == 3
    assert sorted(label for labels in seen + rest for label in labels) == list(range(COUNT))
    again.load_state_dict(first.state_dict())
    again.set_epoch(3)
    assert len(list(again)) == 5


# --- what a sample is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "mode"), [((3,), "L"), ((3,), "RGBA"), ((3,), "I;16"), ((), "RGB"), ((4,), "RGB")]
)
def test_raw_images_come_in_the_mode_that_was_asked_for(tmp_path, channels, mode):
    MemmapConverter(samples(channels=channels), tmp_path / "d", num_workers=0, shape=None).convert()
    reader = MemmapReader(tmp_path / "d", output="tensor", mode=mode)
    [wanted] = DataLoader(reader, COUNT)
    for num_threads in (0, 2):
        [batch] = ThreadedLoader(reader, COUNT, num_threads=num_threads)
        assert torch.equal(batch["image"], wanted["image"])
        assert batch["label"].tolist() == wanted["label"].tolist()


@pytest.mark.parametrize("name", ["whole", "crop", "decoded"])
def test_a_field_may_have_any_name(tmp_path, name):
    fields = [Field(name, "image")]
    MemmapConverter(samples(name), tmp_path / "d", num_workers=0, shape=(12, 10), fields=fields).convert()
    reader = MemmapReader(tmp_path / "d", output="numpy")
    transform = EvalTransform(16, resize=64)
    found = torch.cat([batch[name] for batch in ThreadedLoader(reader, 5, num_threads=0, transform=transform)])
    assert torch.equal(found, torch.stack([transform(sample[name]) for sample in reader]))


@pytest.mark.parametrize("columns", [("label", "image"), ("image", "label")])
@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: r.concat(r), lambda r: Subset(r, range(COUNT))])
def test_the_transform_is_of_the_first_image_wherever_it_stands(path, columns, wrap):
    reader = wrap(MemmapReader(path, output="tensor", columns=columns))
    sample = ThreadedLoader(reader, 1, num_threads=0, transform=lambda image: image.float() / 255, collate_fn=list)
    [values] = next(iter(sample))
    image, label = (values[columns.index(name)] for name in ("image", "label"))
    assert image.dtype == torch.float32
    assert label == 0


def test_the_transform_is_of_the_first_image_of_a_dict_too(tmp_path):
    data = [{"number": n, "photo": sample["image"]} for n, sample in enumerate(samples())]
    fields = [Field("photo", "image")]
    MemmapConverter(data, tmp_path / "d", num_workers=0, shape=(12, 10), fields=fields).convert()
    reader = MemmapReader(tmp_path / "d", output="tensor")
    batch = next(iter(ThreadedLoader(reader, 4, num_threads=0, transform=lambda image: image.float())))
    assert batch["photo"].dtype == torch.float32
    assert batch["number"].tolist() == [0, 1, 2, 3]


def test_lists_of_tv_tensors_are_those_of_the_samples(tmp_path):
    data = [
        {
            "image": sample["image"],
            "mask": np.full((12, 10), 3, np.uint8),
            "boxes": np.array([[0, 0, 4, 5]] * n, np.float32).reshape(-1, 4),
            "label": n,
        }
        for n, sample in enumerate(samples())
    ]
    IpcConverter(data, tmp_path / "d", num_workers=0).convert()
    reader = IpcReader(tmp_path / "d", output="tv_tensor")
    [batch] = ThreadedLoader(reader, COUNT, num_threads=2)
    kinds = {"image": tv_tensors.Image, "mask": tv_tensors.Mask, "boxes": tv_tensors.BoundingBoxes}
    for name, kind in kinds.items():
        for found, sample in zip(batch[name], reader, strict=True):
            assert type(found) is kind is type(sample[name])
            assert torch.equal(found, sample[name])
    assert batch["boxes"][2].canvas_size == (12, 10)
    assert type(batch["label"]) is torch.Tensor


class Doubled(Subset):
    """Changes what its samples are."""

    def __getitem__(self, index):
        image, label = self.dataset[self.indices[index]]
        return image, 2 * label

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class DoubledReader(MemmapReader):
    def __getitems__(self, indices):
        return [(image, 2 * label) for image, label in super().__getitems__(indices)]


def test_subclasses_that_change_the_samples_are_asked_for_them(path, raw):
    for dataset in (Doubled(raw, range(4)), Subset(Doubled(raw, range(4)), range(4)), DoubledReader(path)):
        loader = ThreadedLoader(dataset, 4, num_threads=0, collate_fn=None, transform=EvalTransform(8, resize=8))
        assert next(iter(loader))[1].tolist() == [0, 2, 4, 6]


def test_pinning_without_a_gpu_is_left_out_with_a_warning(raw):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.warns(UserWarning, match="pin_memory"):
        loader = ThreadedLoader(raw, 4, pin_memory=True, num_threads=0)
    assert not next(iter(loader))[0].is_pinned()


# --- forks --------------------------------------------------------------------------------


def forked_while(lock, function):
    """Fork while another thread holds a lock, and return what the child's `function` returns."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(function()))
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        child.start()
        child.join(30)
        assert child.exitcode == 0
        return queue.get()
    finally:
        child.kill()
        done.set()
        thread.join()


def test_a_child_starts_threads_though_the_parent_was_starting_some(raw):
    assert forked_while(crew._STARTING, lambda: len(list(ThreadedLoader(raw, 4, num_threads=2)))) == 5


def test_a_child_maps_files_though_the_parent_was_mapping_one(path):
    reader = MemmapReader(path, output="numpy", mmap=True)
    assert forked_while(reader._maps._lock, lambda: reader[3][1]) == 3


def test_a_child_closes_files_though_the_parent_was_opening_one(raw):
    def close():
        raw.close()
        return raw[3][1]

    assert forked_while(raw._files._lock, close) == 3


# --- read_columns -------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "out",
    [
        np.zeros((4, 12, 10, 3), np.uint8)[:, ::-1],
        np.zeros((3, 12, 10, 3), np.uint8),
        np.zeros((5, 12, 10, 3), np.uint8),
        np.zeros((4, 12, 10, 3), np.float32),
        np.zeros((4, 10, 12, 3), np.uint8),
    ],
)
def test_memory_that_does_not_fit_is_refused(path, mmap, out):
    reader = MemmapReader(path, mmap=mmap)
    with pytest.raises(ValueError, match="'image'"):
        reader.read_columns([0, 1, 2, 3], {"image": out})


def test_no_column_is_no_sample(path):
    with pytest.raises(ValueError, match="columns="):
        MemmapReader(path, columns=[])


def test_a_column_that_comes_twice_is_read_twice(path):
    reader = MemmapReader(path, output="tensor", columns=["image", "label", "image"])
    [wanted] = DataLoader(reader, COUNT)
    [found] = ThreadedLoader(reader, COUNT, num_threads=0)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("output", ["pil", "numpy", "tensor", "tv_tensor"])
def test_arrays_without_axes_are_read(tmp_path, output):
    data, fields = [{"x": np.float32(n / 2)} for n in range(3)], [Field("x", "array", "<f4", ())]
    MemmapConverter(data, tmp_path / "d", num_workers=0, fields=fields).convert()
    value = MemmapReader(tmp_path / "d", output=output)[1]["x"]
    assert isinstance(value, torch.Tensor) == ("tensor" in output)
    assert (value.item(), value.shape) == (0.5, ())


def test_values_of_columns_that_are_not_read_have_the_mode_too(path):
    reader = MemmapReader(path, output="numpy", mode="L", columns=["label"])
    assert reader.read_values([0], ["image"])["image"][0].shape == (12, 10)

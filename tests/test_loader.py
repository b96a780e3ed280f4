"""The threaded loader: DataLoader's batches, whatever the threads; safe memory; certain ends."""

import gc
import io
import multiprocessing
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Subset, TensorDataset
from torchvision.transforms import v2

from datasets.base.errors import ConfigError, CorruptShardError, InputError
from datasets.base.fields import Field
from datasets.base.images import EncodedImage
from datasets.memmap.memmap_converter import MemmapConverter
from datasets.memmap.memmap_reader import MemmapReader
from datasets.pyarrow_ipc.pyarrow_ipc_converter import IpcConverter
from datasets.pyarrow_ipc.pyarrow_ipc_reader import IpcReader
from utils.loader import ThreadedLoader
from utils.ring import Pool
from utils.samplers import GlobalSampler
from utils.transforms import EvalTransform, TrainTransform

COUNT = 45


class Photos:
    """JPEG files of varying size, made here; one PNG and one gray image among them."""

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
        image = Image.fromarray(pixels).resize((60 + index, 90 - index), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.convert("L" if index == 7 else "RGB").save(file, "PNG" if index == 11 else "JPEG")
        return EncodedImage(file.getvalue()), index % 5


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("loader")
    IpcConverter(Photos(), root / "jpeg", images_per_file=20, num_workers=0).convert()
    MemmapConverter(Photos(), root / "raw", images_per_file=20, num_workers=0, shape=(48, 40)).convert()
    return root


@pytest.fixture
def jpeg(paths):
    return IpcReader(paths / "jpeg")


@pytest.fixture
def raw(paths):
    return MemmapReader(paths / "raw", output="tensor")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    if loader_threads():
        gc.collect()  # an iterator in a reference cycle, such as a traceback
    assert loader_threads() == []


def loader_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("loader-")]


def flat(loader):
    """All images and labels of an epoch, copied."""
    images, labels = zip(*[(x.clone(), y.clone()) for x, y in loader], strict=True)
    return torch.cat(images), torch.cat(labels)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# --- the same batches as DataLoader -------------------------------------------------------


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_raw_batches_are_dataloaders(raw, num_threads, drop_last):
    words = {"batch_size": 8, "drop_last": drop_last}
    ours, like = ThreadedLoader(raw, num_threads=num_threads, **words), DataLoader(raw, **words)
    assert len(ours) == len(like)
    pairs = list(zip(ours, like, strict=True))
    assert len(pairs) == len(like)
    for mine, theirs in pairs:
        assert type(mine) is type(theirs)
        assert same(mine, theirs)
        assert mine[1].dtype == theirs[1].dtype


def test_samplers_are_dataloaders(raw):
    order = [3, 3, 1, 44, 0, 7, 9]
    for words in ({"sampler": order, "batch_size": 3}, {"batch_sampler": BatchSampler(order, 2, True)}):
        ours, like = ThreadedLoader(raw, num_threads=2, **words), DataLoader(raw, **words)
        assert len(ours) == len(like)
        assert all(same(a, b) for a, b in zip(ours, like, strict=True))


def test_batches_may_grow(raw):
    sizes = [[1], [2, 3, 4], list(range(20)), [5, 6]]
    batches = list(ThreadedLoader(raw, batch_sampler=sizes, num_threads=2))
    assert [len(y) for _, y in batches] == [1, 3, 20, 2]
    assert same(flat(batches), flat(DataLoader(raw, batch_sampler=sizes)))


def test_a_subset_of_a_subset_is_read_by_its_own_numbers(raw):
    inner = Subset(raw, range(10, 40))
    subset = Subset(inner, [0, 5, 29])
    assert same(flat(ThreadedLoader(subset, 2)), flat(DataLoader(subset, 2)))


def test_encoded_images_without_a_transform_come_as_a_list(jpeg):
    images, labels = next(iter(ThreadedLoader(jpeg, batch_size=4, num_threads=2)))
    assert [image.size for image in images] == [jpeg[i][0].size for i in range(4)]
    assert labels.tolist() == [0, 1, 2, 3]


def test_dict_samples_and_every_kind_of_field(tmp_path):
    samples = [
        {"image": np.full((6, 5, 3), i, np.uint8), "mask": np.full((6, 5), i, np.uint8), "text": f"t{i}", "x": i / 2}
        for i in range(5)
    ]
    IpcConverter(samples, tmp_path / "d", num_workers=0).convert()
    reader = IpcReader(tmp_path / "d", output="numpy")
    batch = next(iter(ThreadedLoader(reader, batch_size=5)))
    assert batch["text"] == [f"t{i}" for i in range(5)]
    assert batch["x"].tolist() == [i / 2 for i in range(5)]
    assert all((image == i).all() for i, image in enumerate(batch["image"]))
    with pytest.raises(ConfigError, match="'mask'"):
        ThreadedLoader(reader, transform=TrainTransform(4))
    unmasked = IpcReader(tmp_path / "d", columns=["image", "x"])
    assert next(iter(ThreadedLoader(unmasked, 5, transform=EvalTransform(4, resize=4))))["image"].shape == (5, 3, 4, 4)


@pytest.mark.parametrize(("dtype", "shape"), [("uint8", (6, 5)), ("uint16", (6, 5)), ("bool", (6, 5, 1))])
def test_raw_masks_are_dataloaders(tmp_path, dtype, shape):
    mask = np.arange(30).reshape(shape).astype(dtype)
    MemmapConverter([{"mask": mask, "x": i} for i in range(3)], tmp_path / "m", num_workers=0, shape=None).convert()
    reader = MemmapReader(tmp_path / "m", output="tensor")
    ours, like = (next(iter(loader(reader, 3)))["mask"] for loader in (ThreadedLoader, DataLoader))
    assert torch.equal(ours, like)
    assert ours.dtype == like.dtype


def test_planar_and_gray_raw_images(tmp_path):
    MemmapConverter(Photos(), tmp_path / "p", num_workers=0, shape=(48, 40), layout="NCHW").convert()
    MemmapConverter(Photos(), tmp_path / "g", num_workers=0, shape=(48, 40), im_mode="L").convert()
    planar, gray = (MemmapReader(tmp_path / name, output="tensor") for name in "pg")
    for reader in (planar, gray):
        assert same(flat(ThreadedLoader(reader, 8)), flat(DataLoader(reader, 8)))
        [(whole, _)] = ThreadedLoader(reader, COUNT, transform=EvalTransform((48, 40), resize=48, dtype=torch.uint8))
        assert whole.shape == (COUNT, 3, 48, 40)
    images, _ = flat(ThreadedLoader(planar, 8, transform=EvalTransform(40, resize=40, dtype=torch.uint8)))
    like = v2.CenterCrop(40)(torch.stack([planar[i][0] for i in range(COUNT)]))
    assert (images.int() - like.int()).abs().max() <= 1


def test_mapped_files_give_the_same_batches(paths, raw):
    mapped = MemmapReader(paths / "raw", output="tensor", mmap=True)
    assert same(flat(ThreadedLoader(mapped, 8, True, seed=1)), flat(ThreadedLoader(raw, 8, True, seed=1)))
    again = pickle.loads(pickle.dumps(mapped))
    assert torch.equal(again[3][0], raw[3][0])
    broken = MemmapReader(paths / "raw", mmap=True, check=True)
    broken._index = np.array(broken._index)
    broken._index["image_xxh3"][9] ^= 1
    with pytest.raises(CorruptShardError, match="sample 9"):
        broken[9]


# --- transforms ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
def test_fused_evaluation_is_torchvisions(kind, request):
    reader = request.getfixturevalue(kind)
    images, labels = flat(ThreadedLoader(reader, 8, transform=EvalTransform(32, resize=36, dtype=torch.uint8)))
    like = v2.Compose([v2.Resize(36), v2.CenterCrop(32)])
    reader.output, reader._modes = "tensor", {"image": "RGB"}
    wanted = torch.stack([like(reader[i][0]) for i in range(COUNT)])
    assert (images.int() - wanted.int()).abs().max() <= 1
    assert labels.tolist() == reader.targets.tolist()


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
def test_fused_training_batches_do_not_depend_on_threads_or_batch_size(kind, request):
    reader = request.getfixturevalue(kind)
    loaders = [
        ThreadedLoader(reader, batch_size, True, transform=TrainTransform(24), num_threads=threads, seed=7)
        for batch_size, threads in [(8, 0), (8, 1), (8, 4), (19, 2)]
    ]
    epochs = [[flat(loader) for _ in range(2)] for loader in loaders]
    assert all(same(epochs[0][e], other[e]) for other in epochs for e in (0, 1))
    assert not torch.equal(epochs[0][0][1], epochs[0][1][1])  # another order in the next epoch


def test_crops_of_a_jpeg_are_those_of_its_pixels(jpeg):
    """The rows that are not decoded make no difference."""
    words = {"transform": TrainTransform(24, dtype=torch.uint8), "seed": 1, "batch_size": 8}
    decoded = [(np.asarray(image.convert("RGB")), label) for image, label in jpeg]
    assert same(flat(ThreadedLoader(jpeg, **words)), flat(ThreadedLoader(decoded, **words)))


@pytest.mark.parametrize("make", [TrainTransform, lambda size, **words: EvalTransform(size, resize=size, **words)])
def test_scaled_decoding_is_close(tmp_path, make):
    y, x = np.mgrid[0:400, 0:500]
    smooth = np.stack([y // 2, x // 2, (x + y) // 4], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95)
    IpcConverter([(EncodedImage(file.getvalue()), 0)] * 12, tmp_path / "d", num_workers=0).convert()
    words = {"dtype": torch.uint8}
    exact, scaled = (
        flat(ThreadedLoader(IpcReader(tmp_path / "d"), 4, transform=make(32, scaled=s, **words), seed=3))[0].int()
        for s in (False, True)
    )
    difference = (exact - scaled).abs()
    assert 0 < difference.max() <= 8


def test_any_callable_works_sample_by_sample(jpeg):
    plain = v2.Compose([v2.RGB(), v2.Resize((20, 20)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    given = ThreadedLoader(jpeg, 8, transform=plain, num_threads=2)
    own = ThreadedLoader(IpcReader(jpeg.dataset_path, transform=plain), 8, num_threads=2)
    like = DataLoader(IpcReader(jpeg.dataset_path, transform=plain), 8)
    assert same(flat(given), flat(like))
    assert same(flat(own), flat(like))


def test_any_dataset_and_collate_function_work():
    dataset = TensorDataset(torch.arange(10.0), torch.arange(10))
    assert same(flat(ThreadedLoader(dataset, 4)), flat(DataLoader(dataset, 4)))
    assert list(ThreadedLoader(dataset, 5, collate_fn=len)) == [5, 5]


def test_tensors_are_moved_to_the_device(raw):
    images, labels = next(iter(ThreadedLoader(raw, 4, device="meta")))
    assert images.device.type == labels.device.type == "meta"


# --- memory -------------------------------------------------------------------------------


def test_kept_batches_are_never_overwritten(raw):
    loader = ThreadedLoader(raw, 4, num_threads=2, prefetch=3)
    kept = [(batch, batch[0].clone()) for _ in range(3) for batch in loader]
    assert all(torch.equal(batch[0], copy) for batch, copy in kept)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1:2, 0],
        lambda x: x.numpy()[0],
        lambda x: x.view(torch.int8),
        lambda x: x.permute(0, 2, 3, 1).reshape(-1)[5:],
        lambda x: x.untyped_storage(),
        lambda x: memoryview(x.numpy()),
    ],
)
def test_every_kind_of_view_keeps_the_memory(raw, view):
    loader = ThreadedLoader(raw, 4, num_threads=0)
    held = view(next(iter(loader))[0])
    before = content(held)
    for images, _ in loader:
        images.fill_(0)
    assert content(held) == before
    assert any(before)


def content(memory):
    if isinstance(memory, memoryview):
        return memory.tobytes()
    if isinstance(memory, torch.UntypedStorage):
        return bytes(memory)
    return np.asarray(memory).tobytes()


@pytest.mark.parametrize("num_threads", [0, 2])
def test_batches_that_are_dropped_in_a_reference_cycle_come_back(raw, num_threads):
    """Their memory returns from within the garbage collector."""
    addresses = set()
    for images, _ in ThreadedLoader(raw, 2, num_threads=num_threads):
        cycle = [images]
        cycle.append(cycle)
        addresses.add(images.data_ptr())
        gc.collect()  # those of the batches before
    assert len(addresses) <= 6  # of 23 batches


def test_memory_is_used_again(raw):
    addresses = {images.data_ptr() for images, _ in ThreadedLoader(raw, 2, num_threads=1, prefetch=2)}
    assert len(addresses) <= 5  # of 23 batches


@pytest.mark.parametrize("output", ["numpy", "tensor"])
def test_decoded_images_are_safe_to_keep_too(jpeg, output):
    jpeg.output = output
    loader = ThreadedLoader(jpeg, 5, num_threads=2)
    kept = [np.asarray(image)[..., 3:9, 2:] for images, _ in loader for image in images]  # views of views
    assert [len(images) for images, _ in loader] == [5] * 9
    assert all((view == np.asarray(jpeg[i][0])[..., 3:9, 2:]).all() for i, view in enumerate(kept))


def test_the_memory_of_decoded_images_is_used_again():
    pool = Pool()
    first = pool.pixels((90, 100, 3))
    address = first.ctypes.data
    part = first[3:5]
    del first
    assert pool.pixels((90, 100, 3)).ctypes.data != address
    del part
    assert pool.pixels((91, 100, 3)).ctypes.data == address
    small = Pool(limit=0)
    held = [small.pixels((90, 100, 3)) for _ in range(3)]
    del held
    assert small.pixels((90, 100, 3)).shape == (90, 100, 3)


def test_bfloat16_is_lent_too(raw):
    transform = TrainTransform(16, dtype=torch.bfloat16)
    images, _ = next(iter(ThreadedLoader(raw, 4, transform=transform)))
    assert images.dtype == torch.bfloat16
    assert images.is_contiguous(memory_format=torch.channels_last)


# --- epochs and resuming ------------------------------------------------------------------


@pytest.mark.parametrize("taken", [0, 1, 4, 6])
def test_resume_goes_on_with_the_same_batches(jpeg, taken):
    words = {"batch_size": 8, "shuffle": True, "transform": TrainTransform(16), "num_threads": 2}
    first = ThreadedLoader(jpeg, seed=5, **words)
    list(first)
    iterator = iter(first)
    for _ in range(taken):
        next(iterator)
    state = first.state_dict()
    assert state == {"seed": 5, "epoch": 1, "batches": taken}
    rest = list(iterator)
    resumed = ThreadedLoader(jpeg, seed=99, **words)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    again = list(resumed)
    assert len(again) == len(rest) == 6 - taken
    assert all(same(a, b) for a, b in zip(again, rest, strict=True))
    assert same(flat(first), flat(resumed))  # and so does the next epoch


def test_a_state_after_an_epoch_begins_the_next(raw):
    loader = ThreadedLoader(raw, 8, seed=1)
    list(loader)
    assert loader.state_dict() == {"seed": 1, "epoch": 1, "batches": 0}
    with pytest.raises(ConfigError, match="entries seed, epoch and batches"):
        loader.load_state_dict({"epoch": 1})


def test_set_epoch_repeats_an_epoch_and_tells_the_sampler(raw):
    loader = ThreadedLoader(raw, 8, shuffle=True, seed=1)
    first = flat(loader)
    loader.set_epoch(0)
    assert same(flat(loader), first)
    sampler = GlobalSampler(raw, seed=3, rank=0, num_replicas=2)
    for words in ({"sampler": sampler, "batch_size": 8}, {"batch_sampler": BatchSampler(sampler, 8, False)}):
        ThreadedLoader(raw, **words).set_epoch(4)
        assert sampler.epoch == 4
        sampler.set_epoch(0)


def test_the_generator_gives_the_seed(raw):
    seeds = [ThreadedLoader(raw, generator=torch.Generator().manual_seed(s)).seed for s in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]
    torch.manual_seed(3)
    by_default = ThreadedLoader(raw).seed
    torch.manual_seed(3)
    assert ThreadedLoader(raw).seed == by_default


# --- errors -------------------------------------------------------------------------------


class Broken:
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == 13:
            raise self.error
        return index


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_error_names_the_sample_and_ends_the_iteration(num_threads):
    iterator = iter(ThreadedLoader(Broken(KeyError("lost")), 5, num_threads=num_threads))
    assert [next(iterator).tolist() for _ in range(2)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    with pytest.raises(KeyError, match="sample 13 of Broken"):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


DAMAGE = {
    "before its pixels": lambda data: data[:30],
    "in its pixels": lambda data: data[: len(data) // 2],
    "in its pixels, and its end is there": lambda data: data[: len(data) // 2] + b"\xff\xd9",
}


@pytest.mark.parametrize("transform", [None, TrainTransform(8)])
@pytest.mark.parametrize("damage", DAMAGE)
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, damage, transform):
    good, _ = Photos()[0]
    samples = [{"image": good.data} for _ in range(6)]
    samples[4] = {"image": DAMAGE[damage](good.data)}
    fields = [Field("image", "bytes")]
    IpcConverter(samples, tmp_path / "d", num_workers=0, fields=fields).convert()
    reader = IpcReader(tmp_path / "d", output="numpy")
    reader.fields = (Field("image", "image"),)  # as damage that was there before the conversion
    with pytest.raises(InputError, match=r"sample 4 of .*/d \(split 'train'\): the JPEG is (truncated|damaged)"):
        list(ThreadedLoader(reader, 3, transform=transform, num_threads=2))


class TooManyWindows(TrainTransform):
    """A transform whose windows are not those of the images."""

    def windows(self, sizes, numbers):
        return super().windows(sizes, numbers) * 2


def test_windows_must_be_as_many_as_the_images(jpeg):
    with pytest.raises(ValueError, match="longer than"):
        list(ThreadedLoader(jpeg, 3, transform=TooManyWindows(8)))


def test_damage_on_disk_is_named(paths, tmp_path):
    IpcConverter(Photos(), tmp_path / "d", num_workers=0).convert()
    [shard] = (tmp_path / "d" / "data").iterdir()
    data = bytearray(shard.read_bytes())
    reader = IpcReader(tmp_path / "d")
    data[int(reader._index["image_offset"][20]) + 200] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptShardError, match="sample 20"):
        list(ThreadedLoader(reader, 8, transform=TrainTransform(8)))


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_threads": -1}, "num_threads=-1"),
        ({"prefetch": 0}, "prefetch=0"),
        ({"sampler": [1], "shuffle": True}, "sampler="),
        ({"batch_sampler": [[1]], "batch_size": 2}, "batch_sampler="),
    ],
)
def test_wrong_arguments_are_named(raw, words, message):
    with pytest.raises(ConfigError, match=message):
        ThreadedLoader(raw, **words)


def test_an_iterable_dataset_is_refused():
    with pytest.raises(ConfigError, match="Numbers"):
        ThreadedLoader(Numbers())


# --- ends ---------------------------------------------------------------------------------


def test_threads_end_with_a_break(raw):
    for _ in ThreadedLoader(raw, 2, num_threads=3):
        assert len(loader_threads()) == 3
        break
    assert loader_threads() == []


def test_threads_end_with_the_epoch_and_with_close(raw):
    iterator = iter(ThreadedLoader(raw, 8, num_threads=2))
    assert len(list(iterator)) == 6
    assert loader_threads() == []
    iterator = iter(ThreadedLoader(raw, 8, num_threads=2))
    next(iterator)
    iterator.close()
    assert loader_threads() == []
    assert next(iterator, "end") == "end"


def test_two_iterators_at_once(raw):
    loader = ThreadedLoader(raw, 8, num_threads=2)
    assert all(same(a, b) for a, b in zip(loader, loader, strict=True))


def test_the_dataset_is_let_go():
    dataset = TensorDataset(torch.arange(10))
    gone = weakref.ref(dataset)
    iterator = iter(ThreadedLoader(dataset, 2, num_threads=2))
    next(iterator)
    del dataset, iterator
    gc.collect()
    assert gone() is None


def test_other_threads_keep_their_number_of_cores(raw):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert len(list(ThreadedLoader(raw, 8, num_threads=2))) == 6
        assert torch.get_num_threads() == 2
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert found == [2]
    finally:
        torch.set_num_threads(before)


LIVE = """
import sys
sys.path.insert(0, {root!r})
from datasets.memmap.memmap_reader import MemmapReader
from utils.loader import ThreadedLoader
iterator = iter(ThreadedLoader(MemmapReader({path!r}), 2, num_threads=3))
next(iterator)
{end}
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(3)", 3), ("raise KeyError", 1)])
def test_the_interpreter_ends_with_a_live_loader(paths, end, code):
    script = LIVE.format(root=str(Path(__file__).parents[1]), path=str(paths / "raw"), end=end)
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr


def test_a_forked_child_is_told_and_can_iterate_anew(raw):
    loader = ThreadedLoader(raw, 8, num_threads=2)
    iterator = iter(loader)
    next(iterator)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=in_child, args=(loader, iterator, queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert "forked" in queue.get()
    assert queue.get() == 6
    assert len(list(iterator)) == 5  # the parent's goes on


def in_child(loader, iterator, queue):
    try:
        next(iterator)
    except RuntimeError as error:
        queue.put(str(error))
    queue.put(len(list(loader)))

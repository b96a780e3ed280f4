"""What goes in comes out: pixels, bytes and values, also through the format's own library."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from shardwright.base.fields import Field
from shardwright.base.images import EncodedImage
from shardwright.base.reader import open_reader
from tests.conformance.own_library import read_shards
from tests.conformance.tools import CLASSES, SHAPE, Store, numbered, picture, same_as_numbered


def test_every_pixel_and_label_of_a_folder_comes_back(store: Store):
    reader = store.open(store.photos, mode="RGB")
    files = store.photo_files
    assert len(reader) == len(files) == 12
    for (image, label), (path, number) in zip(reader, files, strict=True):
        assert image.mode == "RGB"
        assert label == number
        assert type(label) is int
        assert np.array_equal(np.asarray(image), store.pixels(path.read_bytes())), path


def test_mixed_modes_are_read_as_rgb_and_a_shared_mode_as_it_is(store: Store):
    assert {image.mode for image, _ in store.open(store.photos)} == {"RGB"}
    grays = [(picture(n, "L", SHAPE), n) for n in range(4)]
    options = {"im_mode": "L"} if store.fixed else {}
    reader = store.open(store.convert(grays, "grays", overwrite=True, **options))
    assert [image.mode for image, _ in reader] == ["L"] * 4
    assert np.array_equal(np.asarray(reader[2][0]), np.asarray(grays[2][0]))


def test_the_formats_own_library_reads_the_same(store: Store):
    columns = read_shards(store.kind, store.shards(store.photos))
    assert columns["label"] == [label for _, label in store.photo_files]
    for value, (path, _) in zip(columns["image"], store.photo_files, strict=True):
        wanted = store.pixels(path.read_bytes()) if store.fixed else path.read_bytes()
        assert np.array_equal(value, wanted), path


def test_images_keep_the_bytes_of_their_files(store: Store):
    """A JPEG is never encoded again."""
    stored = [image for image, _ in store.open(store.photos, output="bytes")]
    if store.fixed:
        assert stored == [store.pixels(path.read_bytes()).tobytes() for path, _ in store.photo_files]
    else:
        assert stored == [path.read_bytes() for path, _ in store.photo_files]


def test_outputs_hold_the_same_pixels(store: Store):
    arrays = store.open(store.photos, output="numpy", mode="RGB")
    tensors = store.open(store.photos, output="tensor", mode="RGB")
    for (image, _), (array, _), (tensor, _) in zip(store.open(store.photos), arrays, tensors, strict=True):
        assert array.dtype == np.uint8
        assert np.array_equal(array, np.asarray(image))
        assert tensor.dtype == torch.uint8
        assert np.array_equal(tensor.permute(1, 2, 0).numpy(), array)


def test_what_is_read_may_be_written_to(store: Store):
    for output in ("numpy", "tensor"):
        reader = store.open(store.photos, output=output)
        first, _ = reader[0]
        first[:] = 0
        again, _ = reader[0]
        assert again.any()


def test_classes_and_targets_are_those_of_the_folders(store: Store):
    reader = store.open(store.photos)
    assert reader.classes == list(CLASSES)
    assert reader.class_to_idx == {"cat": 0, "dog": 1, "eel": 2}
    assert isinstance(reader.targets, np.ndarray)
    assert reader.targets.dtype == np.int64
    assert reader.targets.tolist() == [label for _, label in store.photo_files]


def test_a_dataset_of_pil_images_comes_back(store: Store):
    assert same_as_numbered(list(store.open(store.numbers)), range(23))


def test_height_and_width_are_not_swapped(store: Store):
    """Fault 40."""
    wide = [(picture(n, size=(10, 30)), n) for n in range(2)]
    shape = {"shape": (10, 30)} if store.fixed else {}
    reader = store.open(store.convert(wide, "wide", overwrite=True, **shape), output="numpy")
    assert reader[1][0].shape == (10, 30, 3)
    assert np.array_equal(reader[1][0], np.asarray(wide[1][0]))


def test_numbers_and_arrays_of_every_type_come_back(store: Store):
    rng = np.random.default_rng(3)
    dtypes = ("|b1", "|i1", "|u1", "<i2", "<u2", ">i4", "<u4", "<i8", "<u8", "<f2", "<f4", ">f8", "<c8")
    samples = [
        {
            "count": -n * 2**40,
            "weight": 0.1 * n,
            **{f"a{i}": (rng.random((2, 3)) * 100).astype(dtype) for i, dtype in enumerate(dtypes)},
            "tensor": torch.arange(n, n + 4, dtype=torch.int32),
        }
        for n in range(7)
    ]
    reader = store.open(store.convert(samples, "numbers-of-types", overwrite=True))
    for got, sent in zip(reader, samples, strict=True):
        assert got["count"] == sent["count"]
        assert got["weight"] == sent["weight"]
        assert np.array_equal(got["tensor"], sent["tensor"].numpy())
        for i, dtype in enumerate(dtypes):
            assert got[f"a{i}"].dtype == np.dtype(dtype).newbyteorder("<")
            assert np.array_equal(got[f"a{i}"], sent[f"a{i}"]), dtype


def test_values_of_any_size_come_back_or_are_refused(store: Store):
    samples = [
        {"text": "ä" * n, "raw": bytes(range(n)), "meta": {"n": [n, None, "x"]}, "points": np.ones((n, 2), "<f4") * n}
        for n in range(1, 8)
    ]
    fields = [Field("points", "array")]  # inferred from the first, it would have that one's size
    if store.fixed:
        with pytest.raises(ValueError, match="parquet, pyarrow_ipc or tar"):
            store.convert(samples, "any-size", fields=fields, overwrite=True)
        return
    reader = store.open(store.convert(samples, "any-size", fields=fields, overwrite=True))
    for got, sent in zip(reader, samples, strict=True):
        assert (got["text"], got["raw"], got["meta"]) == (sent["text"], sent["raw"], sent["meta"])
        assert np.array_equal(got["points"], sent["points"])


def test_masks_keep_their_ids(store: Store):
    """Masks are resized to the nearest pixel and never pass a lossy codec, so no id appears or is lost."""
    masks = [
        Image.fromarray(np.random.default_rng(n).choice([0, 7, 200, 255], (16, 24)).astype(np.uint8)) for n in range(3)
    ]
    samples = [(picture(n, size=(16, 24)), masks[n]) for n in range(3)]
    reader = store.open(store.convert(samples, "masks", overwrite=True), output="numpy")
    for (_, mask), sent in zip(reader, masks, strict=True):
        wanted = sent.resize((SHAPE[1], SHAPE[0]), Image.Resampling.NEAREST) if store.fixed else sent
        assert np.array_equal(mask, np.asarray(wanted))


def test_open_reader_finds_the_class(store: Store):
    reader = open_reader(store.numbers)
    assert type(reader) is type(store.open(store.numbers))
    assert same_as_numbered([reader[22]], [22])


def test_columns_chooses_fields(store: Store):
    assert [store.open(store.numbers, columns=["label"])[n] for n in (0, 22)] == [0, 22]
    assert isinstance(store.open(store.numbers, columns=["image"])[0], Image.Image)


def test_source_bytes_of_any_codec_are_read(store: Store):
    """The bytes given as `EncodedImage` are taken as they are, whatever codec made them."""
    samples = []
    for n, kind in enumerate(("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")):
        file = io.BytesIO()
        picture(n, size=SHAPE).convert("RGB").save(file, kind)
        samples.append((EncodedImage(file.getvalue()), n))
    reader = store.open(store.convert(samples, "codecs", overwrite=True), mode="RGB")
    for (image, _), (sent, _) in zip(reader, samples, strict=True):
        wanted = Image.open(io.BytesIO(sent.data)).convert("RGB")
        assert np.array_equal(np.asarray(image), np.asarray(wanted))


def test_several_splits_share_a_folder(store: Store):
    folder = store.convert(numbered(3), "splits", split="train", overwrite=True)
    store.convert(numbered(7), "splits", split="validation", overwrite=True)
    assert len(store.open(folder)) == 3
    assert same_as_numbered(list(store.open(folder, split="validation")), range(7))

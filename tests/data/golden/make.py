"""Makes the golden splits; run with version 0.1.0, whose modules were called `datasets.*`, and kept as a record.

Usage: python make.py FOLDER. The folder is then committed as tests/data/golden, and never made anew:
later versions must read what this one wrote.
"""

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datasets.base.adopt import index_files
from datasets.base.fields import Field
from datasets.base.formats import get_format, open_reader
from PIL import Image

COUNT = 7


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)


def file_of(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, kind)
    return file.getvalue()


def class_folders(root: Path) -> Path:
    for number in range(COUNT):
        folder = root / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        kind = ("PNG", "JPEG")[number % 3 == 0]
        (folder / f"{number}.{kind.lower()}").write_bytes(file_of(number, kind))
    (root / "dog" / "9.jpg").write_bytes(b"no image at all")
    return root


def samples(fixed: bool) -> list[dict[str, Any]]:
    made = []
    for number in range(COUNT):
        sample = {
            "image": pixels(number),
            "mask": np.full((6, 8), number, np.uint8),
            "label": number % 3,
            "dose": number / 4,
            "spectrum": np.arange(4, dtype=np.float32) * number,
        }
        if not fixed:
            sample |= {"about": f"sample {number}", "raw": bytes(range(number)), "more": {"number": number}}
            sample["ragged"] = np.arange(number, dtype=np.int16)
        made.append(sample)
    return made


def converted(folder: Path, inputs: Path) -> None:
    fields = [Field("label", "class_label", names=("ant", "bee", "cow"))]
    for name in ("memmap", "hdf5", "parquet", "pyarrow_ipc", "tar"):
        converter = get_format(name).load_converter()
        shape = {"shape": (6, 8)} if converter.fixed_size else {}
        options = {"images_per_file": 3, "batch_size": 2, "num_workers": 0, "progress": False, **shape}
        converter(inputs, folder / name, on_error="skip", **options).convert()
        ragged = [] if converter.fixed_size else [Field("ragged", "array")]
        data = samples(converter.fixed_size)
        converter(data, folder / f"{name}_fields", split="test", fields=fields + ragged, **options).convert()


def indexed(folder: Path) -> None:
    images, labels = [file_of(n) for n in range(COUNT)], [n % 3 for n in range(COUNT)]
    for name in ("tar", "parquet", "arrow", "arrows", "npy", "h5"):
        (folder / f"indexed_{name}").mkdir(parents=True)
    with tarfile.open(folder / "indexed_tar" / "train-0.tar", "w") as archive:
        for number, image in enumerate(images):
            for suffix, data in (("png", image), ("cls", b"%d" % labels[number]), ("txt", b"text %d" % number)):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    table = pa.table({"image": [{"bytes": image, "path": None} for image in images], "label": labels})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee", "cow"]}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = folder / "indexed_parquet" / "train.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False)
    with pa.ipc.new_file(folder / "indexed_arrow" / "train.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(folder / "indexed_arrows" / "train.arrow", table.schema) as writer:
        writer.write_table(table)
    np.save(folder / "indexed_npy" / "images.npy", np.stack([pixels(n) for n in range(COUNT)]))
    np.save(folder / "indexed_npy" / "labels.npy", np.array(labels))
    with h5py.File(folder / "indexed_h5" / "train.h5", "w") as file:
        file["images"] = np.stack([pixels(n) for n in range(COUNT)])
        file["labels"] = np.array(labels)
        file["labels"].attrs["class_names"] = np.array(["ant", "bee", "cow"], "S3")
    for name in ("tar", "parquet", "arrow", "arrows", "npy", "h5"):
        index_files(folder / f"indexed_{name}")


def hash_of(value: Any) -> str:
    data = value.tobytes() if hasattr(value, "tobytes") else bytes(value)
    return xxhash.xxh3_64_hexdigest(data)


def expected(root: Path, split: str) -> dict[str, Any]:
    reader = open_reader(root, split=split, check=True)
    columns = reader.read_columns(range(len(reader)))
    return {
        "split": split,
        "format": reader.manifest.format,
        "sample_type": reader.manifest.sample_type,
        "fields": [f.to_json() for f in reader.fields],
        "classes": reader.classes,
        "targets": reader.targets.tolist(),
        "stored": {name: [hash_of(value) for value in column] for name, column in columns.items()},
        "files": {
            path.relative_to(root).as_posix(): xxhash.xxh3_64_hexdigest(path.read_bytes())
            for path in sorted(root.rglob("*"))
            if path.is_file()
        },
    }


def main() -> None:
    root = Path(sys.argv[1])
    converted(root, class_folders(Path(sys.argv[2])))
    indexed(root)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        split = "test" if folder.name.endswith("_fields") else "train"
        text = json.dumps(expected(folder, split), indent=1, sort_keys=True)
        (root / f"{folder.name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

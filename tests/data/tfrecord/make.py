"""Write the TFRecord files of this folder with TensorFlow and TFDS; run once, in an environment that has them.

The files are kept, so that the tests need neither. `expected` says what is in
``train-*`` and ``records.gz``, without TensorFlow.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def expected(number: int) -> dict[str, list[bytes] | list[int] | list[float]]:
    """Return the features of record `number`: unknown ones and lists of 0 and 1000 values among them."""
    return {
        "image/class/label": [number % 3 + 1],
        "image/class/text": [f"class {number % 3}".encode()],
        "image/filename": [f"photo {number}.png".encode()],
        "image/format": [b"PNG"],
        "image/height": [4],
        "image/width": [5],
        "odd/empty": [],
        "odd/float": [0.1, float("inf"), -0.0],
        "odd/int": [-(2**63), 2**63 - 1, number],
        "odd/long": list(range(1000)) if number % 2 else [],
        "odd/names": [b"", b"\xff\x00", "é".encode()],
    }


def pixels(number: int) -> np.ndarray:
    """Return the image of record `number`."""
    return np.full((4, 5, 3), (number, 2 * number, 255 - number), np.uint8)


def feature(values: list) -> tf.train.Feature:
    """Return a list as TensorFlow holds it."""
    if values and isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values)) if values else tf.train.Feature()


def example(number: int) -> bytes:
    """Return record `number`."""
    features = expected(number) | {"image/encoded": [tf.io.encode_png(pixels(number)).numpy()]}
    message = tf.train.Example(features=tf.train.Features(feature={k: feature(v) for k, v in features.items()}))
    return message.SerializeToString(deterministic=True)


def sequence() -> bytes:
    """Return a message of the kind that is not read."""
    lists = tf.train.FeatureLists(feature_list={"b": tf.train.FeatureList(feature=[feature([2])])})
    context = tf.train.Features(feature={"a": feature([1])})
    return tf.train.SequenceExample(context=context, feature_lists=lists).SerializeToString()


def write(name: str, records: list[bytes], compression: str = "") -> None:
    """Write a file of this folder."""
    with tf.io.TFRecordWriter(str(HERE / name), tf.io.TFRecordOptions(compression_type=compression)) as writer:
        for record in records:
            writer.write(record)


def tfds_builder() -> tfds.core.DatasetBuilder:
    """Return a set with every kind of feature that is read."""
    kinds = tfds.features

    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = HERE

        def _info(self):
            features = {
                "image": kinds.Image(shape=(None, None, 3)),
                "label": kinds.ClassLabel(names=["cat", "dog"]),
                "name": kinds.Text(),
                "size": kinds.Scalar(np.int32),
                "weight": kinds.Tensor(shape=(3,), dtype=np.float32),
                "steps": kinds.Sequence(np.int64),
                "grid": kinds.Tensor(shape=(2, 2), dtype=np.uint8),
                "meta": {"a": np.int64, "box": kinds.BBoxFeature()},
            }
            return self.dataset_info_from_configs(features=kinds.FeaturesDict(features))

        def _split_generators(self, manager):
            return {"train": self._generate_examples(5), "test": self._generate_examples(2)}

        def _generate_examples(self, count):
            for number in range(count):
                yield (
                    number,
                    {
                        "image": pixels(number),
                        "label": number % 2,
                        "name": f"é{number}",
                        "size": number,
                        "weight": np.arange(3, dtype=np.float32) + number,
                        "steps": list(range(number)),
                        "grid": np.full((2, 2), number, np.uint8),
                        "meta": {"a": number, "box": kinds.BBox(0.0, 0.25, 0.5, 1.0)},
                    },
                )

    return Tiny(data_dir=HERE / "tfds")


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tensorflow_datasets as tfds

    write("train-00000-of-00002", [example(number) for number in range(3)])
    write("train-00001-of-00002", [example(number) for number in range(3, 5)])
    write("records.tfrecord.gz", [example(number) for number in range(5)], "GZIP")
    write("sequence.tfrecord", [sequence()])
    tfds_builder().download_and_prepare()

"""`IpcReader` under the path that existing code imports it from."""

from shardwright.pyarrow_ipc.reader import IpcReader

__all__ = ["IpcReader"]

"""`IpcConverter` under the path that existing code imports it from."""

from shardwright.pyarrow_ipc.converter import IpcConverter

__all__ = ["IpcConverter"]

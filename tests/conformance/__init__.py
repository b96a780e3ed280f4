"""Checks that every format of the table passes.

Each check is a function of a `Store`, a format with a folder to work in. It is
run for every registered format and cannot be overridden by one; `test_mutants`
runs the same functions on formats that are broken on purpose.
"""

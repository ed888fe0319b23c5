"""What all errors have in common."""

from __future__ import annotations

import pickle

import pytest

from m2ib.errors import AdapterError, CheckpointError, InputError, M2IBError, SettingError, StorageError

KINDS = (AdapterError, CheckpointError, InputError, SettingError, StorageError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_any_length_is_cut_in_its_middle(kind: type[M2IBError]) -> None:
    assert str(kind("a" * 1500)) == "a" * 1500
    error = kind("who: " + "a" * 10**6 + "; the way out")
    assert len(str(error)) == 1505
    assert str(error).startswith("who: aaa")
    assert str(error).endswith("aaa; the way out")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
